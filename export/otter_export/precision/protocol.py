"""What a precision can do. It knows one layer at a time, not the network."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from otter_export.builder import OPSET, Builder
from otter_export.weight_file import WeightFile

Floats = NDArray[np.float32]


class Precision(Protocol):
    """A way to write the linear layers and the embedding table of a graph."""

    name: str
    opset: int = OPSET  # the least that its nodes need

    def linear(
        self,
        b: Builder,
        x: str,
        name: str,
        matrix: Floats,
        bias: Floats | None,
        divided: Floats | None = None,
    ) -> str:
        """x (…, in) times `matrix` (in, out) plus `bias` (out): the name of the result (…, out).

        Where the norm before has divided x's channels, `divided` (in,) says by what.
        """

    def migration(self, name: str, matrix: Floats) -> Floats | None:
        """Per input channel, what the norm before layer `name` divides by; None for nothing."""
        return None

    def table(self, b: Builder, name: str, rows: Floats, ids: str) -> str:
        """Rows `ids` of the table `rows` (n, dim), as float32."""

    def builder(self, name: str, weights: WeightFile | None, opset: int) -> Builder:
        """What a graph of this precision is written with; it decides on types between layers."""
        return Builder(name, weights, opset)


def with_bias(b: Builder, product: str, name: str, bias: Floats | None) -> str:
    """`product` plus the layer's bias, where it has one."""
    return product if bias is None else b.op("Add", product, b.weight(f"{name}.bias", bias))
