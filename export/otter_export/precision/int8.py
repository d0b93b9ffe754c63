"""Static int8 with explicit Q/DQ.

Symmetric. A weight (in, out) has one scale per output channel, its largest magnitude over
127; an activation has one scale per tensor, from calibration. The graph says

    x ─ QuantizeLinear ─ DequantizeLinear ─┐
                                           MatMul (─ Add bias)
    int8 weight ─ DequantizeLinear(axis=1) ┘

which ONNX Runtime runs as one MatMulIntegerToFloat and TensorRT as an int8 matrix product:
zero points are 0, `axis` is always written (its default differs between the two), the bias stays
float. A row's result depends on that row only, so chunking does not change it.

Where the layer follows a norm, outlier channels can be moved from the activation into the weight
(SmoothQuant, arXiv 2211.10438): the norm's channel j is divided by s_j, the weight's row j is
multiplied by it. In fp32 nothing changes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from otter_export.builder import Builder
from otter_export.precision.protocol import Floats, Linear, Precision, with_bias

LEVELS = 127
# A channel that calibration never saw active still needs a scale that is positive.
SMALLEST = 1e-6
# Quantized so many columns at a time: a head of 50,000 needs no second float copy.
COLUMNS = 1024


@dataclass(frozen=True)
class Int8(Precision):
    """Static int8. `ranges` holds each layer's largest |x| per input channel, from calibration.

    A layer without a range was never run in calibration; `KeyError` names it.
    """

    ranges: Mapping[str, Floats]
    # 0 leaves activations as they are, 1 moves all of their range into the weights.
    strength: float = 0.5
    name = "int8"

    def linear(self, b: Builder, x: str, layer: Linear) -> str:
        weight, scales = quantized(layer.matrix)
        zero = b.constant(0, np.int8)
        seen = self.ranges[layer.name]
        if layer.divided is not None:
            seen = seen / layer.divided
        step = b.constant(max(float(seen.max()), SMALLEST) / LEVELS, np.float32)
        x = b.op("DequantizeLinear", b.op("QuantizeLinear", x, step, zero), step, zero)
        matrix = b.op(
            "DequantizeLinear",
            b.weight(f"{layer.name}.weight", weight),
            b.weight(f"{layer.name}.scale", scales),
            b.weight(f"{layer.name}.zero", np.zeros_like(scales, np.int8)),
            axis=1,
        )
        return with_bias(b, b.op("MatMul", x, matrix), layer)

    def migration(self, name: str, matrix: Floats) -> Floats | None:
        if self.strength == 0:
            return None
        return migration(self.ranges[name], matrix, self.strength)

    def table(self, b: Builder, name: str, rows: Floats, ids: str) -> str:
        return half_table(b, name, rows, ids)


def half_table(b: Builder, name: str, rows: Floats, ids: str) -> str:
    """Rows `ids` of a table kept in half precision, as float32.

    Not int8: a gathered row's own scale is no build-time constant, which TensorRT's Q/DQ rules
    want, and a table is read one row per token anyway.
    """
    half = b.weight(f"{name}.weight", rows.astype(np.float16))
    return b.op("Cast", b.op("Gather", half, ids, axis=0), to=TensorProto.FLOAT)


def quantized(matrix: Floats) -> tuple[NDArray[np.int8], Floats]:
    """`matrix` (in, out) as int8 and its scales (out,): round(matrix / scale), ties to even."""
    scales: Floats = np.maximum(largest(matrix, 0), SMALLEST).astype(np.float32) / np.float32(
        LEVELS
    )
    weight: NDArray[np.int8] = np.empty(matrix.shape, np.int8)
    for at in range(0, matrix.shape[1], COLUMNS):
        part = slice(at, at + COLUMNS)
        # As int8 before it is laid out (in, out): a quarter of the bytes to transpose.
        weight[:, part] = np.rint(matrix[:, part] / scales[part]).astype(np.int8)
    return weight, scales


def largest(matrix: Floats, axis: int) -> Floats:
    """The largest magnitude along `axis`, without a copy of the matrix."""
    magnitude: Floats = np.maximum(matrix.max(axis=axis), -matrix.min(axis=axis))
    return magnitude


def migration(seen: Floats, matrix: Floats, strength: float) -> Floats:
    """SmoothQuant's s_j = max|x_j|^strength / max|w_j|^(1-strength), around a mean of 1."""
    x = np.maximum(seen, SMALLEST * max(float(seen.max()), SMALLEST))
    w = np.maximum(largest(matrix, 1), SMALLEST)
    s = np.log(x) * strength - np.log(w) * (1 - strength)
    moved: Floats = np.exp(np.clip(s - s.mean(), -8, 8)).astype(np.float32)
    return moved
