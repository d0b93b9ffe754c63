"""What a precision can do. It knows one layer at a time, not the network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from otter_export.builder import OPSET, Builder
from otter_export.weight_file import WeightFile

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Linear:
    """A linear layer: `matrix` (in, out), `bias` (out,) where it has one.

    Where the norm before has divided x's channels, `divided` (in,) says by what; `matrix` makes up
    for it.
    """

    name: str
    matrix: Floats
    bias: Floats | None = None
    divided: Floats | None = None


class Precision(Protocol):
    """A way to write the linear layers and the embedding table of a graph."""

    name: str
    opset: int = OPSET  # the least that its nodes need

    def linear(self, b: Builder, x: str, layer: Linear) -> str:
        """x (…, in) through `layer`: the name of the result (…, out)."""

    def migration(self, name: str, matrix: Floats) -> Floats | None:
        """Per input channel, what the norm before layer `name` divides by; None for nothing."""
        return None

    def table(self, b: Builder, name: str, rows: Floats, ids: str) -> str:
        """Rows `ids` of the table `rows` (n, dim), as float32."""

    def builder(self, name: str, weights: WeightFile | None, opset: int) -> Builder:
        """What a graph of this precision is written with; it decides on types between layers."""
        return Builder(name, weights, opset)


def with_bias(b: Builder, product: str, layer: Linear) -> str:
    """`product` plus the layer's bias, where it has one."""
    if layer.bias is None:
        return product
    return b.op("Add", product, b.weight(f"{layer.name}.bias", layer.bias))
