"""Dynamic int8: activations get their scale while the graph runs. For want of calibration data.

    x ─ DynamicQuantizeLinear ─ MatMulInteger ─ Cast ─ Mul (by both scales) ─ Add bias
                  int8 weight ─┘

ONNX Runtime joins that into one DynamicQuantizeMatMul. The scale is one over the whole tensor, so a
row's result depends on the rows it comes with: on how a prompt is cut into chunks, and on what is
in the cache already. TensorRT has neither operator.
"""

from __future__ import annotations

import numpy as np
from onnx import TensorProto

from otter_export.builder import Builder
from otter_export.precision.int8 import half_table, quantized
from otter_export.precision.protocol import Floats, Linear, Precision, with_bias


class Int8Dynamic(Precision):
    """Weights as static int8's, one scale per output channel; activations uint8 as they come."""

    name = "int8-dynamic"

    def linear(self, b: Builder, x: str, layer: Linear) -> str:
        weight, scales = quantized(layer.matrix)
        x, step, zero = b.ops("DynamicQuantizeLinear", 3, x)
        product = b.op(
            "MatMulInteger",
            x,
            b.weight(f"{layer.name}.weight", weight),
            zero,
            b.weight(f"{layer.name}.zero", np.zeros_like(scales, np.int8)),
        )
        step = b.op("Mul", step, b.weight(f"{layer.name}.scale", scales))
        product = b.op("Mul", b.op("Cast", product, to=TensorProto.FLOAT), step)
        return with_bias(b, product, layer)

    def table(self, b: Builder, name: str, rows: Floats, ids: str) -> str:
        return half_table(b, name, rows, ids)
