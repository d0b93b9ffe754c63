"""Blocked int4 weights, float32 activations.

A weight (in, out) has one scale per output channel and block of 128 input channels, or 64 where
128 does not divide them; TensorRT knows no other blocks (its quantization schemes: "supported
block sizes are {64, 128}"). The graph says

    int4 weight ─ DequantizeLinear(axis=0, block_size) ─ MatMul (─ Add bias)

without zero points, which ONNX Runtime runs as one MatMulNBits and TensorRT as a weight-only
product. How weights are rounded, `rounding.py` knows; outlying channels are first moved by the
norm before, as in int8, here by their root mean square. Layers that no block divides are int8.

A row's result depends on that row only, so chunking does not change it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from otter_export.builder import Builder
from otter_export.precision import rounding
from otter_export.precision.int8 import Int8, migration
from otter_export.precision.protocol import Floats, Linear, Precision, with_bias
from otter_export.precision.seen import Statistic

BLOCKS = (128, 64)
# Channels of one span of the second moments at most: those of a 7B decoder take 2 GB so, and
# rounding it takes minutes.
SPAN = 512


def block_size(channels: int) -> int | None:
    """The largest block that divides a matrix's input channels; None where none does."""
    return next((size for size in BLOCKS if channels % size == 0), None)


def span_size(channels: int) -> int:
    """Channels of a span: whole blocks, at most `SPAN`, spans alike; 1 where no block divides."""
    block = block_size(channels)
    if block is None:
        return 1
    blocks = channels // block
    return block * max(n for n in range(1, SPAN // block + 1) if blocks % n == 0)


def _moments(b: Builder, x: str, width: int) -> str:
    span = span_size(width)
    rows = b.op("Reshape", x, b.constant([-1, width // span, span]))
    across = b.op("Transpose", rows, perm=[1, 2, 0])
    return b.op("MatMul", across, b.op("Transpose", rows, perm=[1, 0, 2]))


# Σ x xᵀ in diagonal spans (spans, n, n).
MOMENTS = Statistic("moments", ("spans", "n", "n"), _moments, np.add)


@dataclass(frozen=True)
class Int4(Precision):
    """Weight-only int4. `moments` holds each layer's Σ x xᵀ in spans, from calibration."""

    moments: Mapping[str, Floats]
    int8: Int8  # for layers that no block divides
    # 0 leaves the weights as they are, 1 makes all of a norm's channels equally large.
    strength: float = 0.5
    # Whether errors are fed back, or each weight goes to its nearest code.
    feedback: bool = True
    name = "int4"
    opset = 21  # the first with blocks

    def linear(self, b: Builder, x: str, layer: Linear) -> str:
        matrix = layer.matrix
        block = block_size(matrix.shape[0])
        if block is None or matrix.shape[1] % 2:
            return self.int8.linear(b, x, layer)
        if self.feedback:
            codes, scales = rounding.rounded(matrix, self._moments(layer), block)
        else:
            codes, scales = rounding.nearest(matrix, block)
        weight = b.op(
            "DequantizeLinear",
            b.weight(f"{layer.name}.weight", codes),
            b.weight(f"{layer.name}.scale", scales),
            axis=0,
            block_size=block,
        )
        return with_bias(b, b.op("MatMul", x, weight), layer)

    def migration(self, name: str, matrix: Floats) -> Floats | None:
        if self.strength == 0:
            return None
        return migration(np.sqrt(rounding.diagonal(self.moments[name])), matrix, self.strength)

    def table(self, b: Builder, name: str, rows: Floats, ids: str) -> str:
        return self.int8.table(b, name, rows, ids)

    def _moments(self, layer: Linear) -> Floats:
        moments, divided = self.moments[layer.name], layer.divided
        if divided is None:
            return moments
        spans = divided.reshape(moments.shape[:2])
        return moments / (spans[:, :, None] * spans[:, None, :])
