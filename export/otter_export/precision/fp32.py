"""float32, as trained: the truth that every other precision is held to."""

from __future__ import annotations

from otter_export.builder import Builder
from otter_export.precision.protocol import Floats, Linear, Precision, with_bias


class Fp32(Precision):
    """Weights and arithmetic in float32."""

    name = "fp32"

    def linear(self, b: Builder, x: str, layer: Linear) -> str:
        product = b.op("MatMul", x, b.weight(f"{layer.name}.weight", layer.matrix))
        return with_bias(b, product, layer)

    def table(self, b: Builder, name: str, rows: Floats, ids: str) -> str:
        return b.op("Gather", b.weight(f"{name}.weight", rows), ids, axis=0)
