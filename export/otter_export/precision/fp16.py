"""float16 weights and arithmetic, with float32 islands where half would overflow or lose.

`half_builder` decides node by node, on what calibration saw of each; here are the weights. A lone
fp16 layer in a graph of another precision (a head) gets its casts here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from otter_export.builder import Builder
from otter_export.half_builder import HALF, LARGEST_HALF, LIMIT, SINGLE, HalfBuilder
from otter_export.precision.protocol import Floats, Linear, Precision, with_bias
from otter_export.weight_file import WeightFile

# Half's subnormals are 2^-24 apart: rounding to them costs numbers of this root mean square a
# thousandth of their size, as against 2^-12 for normal ones.
SMALLEST_MEAN = 1.7e-5


@dataclass(frozen=True)
class Fp16(Precision):
    """Calibration's largest |x| of each linear layer's inputs, and of each node's output."""

    inputs: Mapping[str, Floats]  # layer: (in,)
    peaks: Mapping[str, NDArray[Any]]  # node: ()
    name = "fp16"

    def linear(self, b: Builder, x: str, layer: Linear) -> str:
        seen, stored = float(self.inputs[layer.name].max()), narrowed(layer.matrix)
        with b.scope(layer.name) as scope:
            weight = b.weight(f"{layer.name}.weight", stored)
            if isinstance(b, HalfBuilder):
                b.saw(x, seen)
                if layer.bias is not None:
                    layer = replace(layer, bias=narrowed(layer.bias))
                return with_bias(b, b.op("MatMul", x, weight), layer)
            fits = max(seen, float(self.peaks[f"{scope}/matmul"])) <= LIMIT
            compute = HALF if fits and stored.dtype == np.float16 else SINGLE
            x, weight = b.op("Cast", x, to=compute), b.op("Cast", weight, to=compute)
            product = b.op("Cast", b.op("MatMul", x, weight), to=SINGLE)
            return with_bias(b, product, layer)

    def table(self, b: Builder, name: str, rows: Floats, ids: str) -> str:
        table = b.weight(f"{name}.weight", narrowed(rows))
        return b.op("Cast", b.op("Gather", table, ids, axis=0), to=SINGLE)

    def builder(self, name: str, weights: WeightFile | None, opset: int) -> Builder:
        return HalfBuilder(name, weights, opset, self.peaks)


def narrowed(array: Floats) -> NDArray[Any]:
    """`array` as float16; as it is where that would be infinite, or mostly subnormal."""
    size = float(np.linalg.norm(array)) / array.size**0.5
    fits = (size == 0 or size > SMALLEST_MEAN) and float(np.abs(array).max()) <= LARGEST_HALF
    return array.astype(np.float16) if fits else array
