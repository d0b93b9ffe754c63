"""What calibration sees: figures of fp32 graphs' values, written as more nodes of those graphs.

The network's blocks run in fp32 over the samples (`reference.py`); each statistic is one more
output per linear layer, or per node, and those of several samples are merged. `Seen` maps the
statistic's name and the layer's, or the node's, to the value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from otter_export.builder import Builder, Dim
from otter_export.half_builder import ARITHMETIC
from otter_export.precision.fp32 import Fp32
from otter_export.precision.protocol import Linear
from otter_export.weight_file import WeightFile

Seen = Mapping[str, Mapping[str, NDArray[Any]]]


@dataclass(frozen=True)
class Statistic:
    """One figure: of a linear layer's input x (…, in), or of what a node of a scope computes.

    `nodes(builder, x, in)` writes it and returns its name (a node's `in` is 0); `merged` joins two
    samples' values.
    """

    name: str
    shape: tuple[Dim, ...]
    nodes: Callable[[Builder, str, int], str]
    merged: Callable[[NDArray[Any], NDArray[Any]], NDArray[Any]]
    of_nodes: bool = False


def _largest(b: Builder, x: str, width: int) -> str:
    flat = b.op("Reshape", b.op("Abs", x), b.constant([-1, width]))
    return b.op("ReduceMax", flat, b.constant([0]), keepdims=0)


def _peak(b: Builder, x: str, _: int) -> str:
    return b.op("ReduceMax", b.op("Abs", x), keepdims=0)


# The largest |x| per input channel (in,), and the largest |output| of a node.
LARGEST = Statistic("largest", ("channels",), _largest, np.maximum)
PEAKS = Statistic("peaks", (), _peak, np.maximum, of_nodes=True)


@dataclass
class Observed(Fp32):
    """fp32 that also writes `statistics`; `outputs` holds their values by statistic and place."""

    statistics: Iterable[Statistic] = (LARGEST,)
    outputs: dict[tuple[Statistic, str], str] = field(default_factory=dict)
    name = "observed"

    def linear(self, b: Builder, x: str, layer: Linear) -> str:
        for statistic in self.statistics:
            if not statistic.of_nodes:
                self.outputs[statistic, layer.name] = statistic.nodes(b, x, layer.matrix.shape[0])
        # A scope of its own, as fp16's: its nodes are then called the same wherever it stands.
        with b.scope(layer.name):
            return super().linear(b, x, layer)

    def builder(self, name: str, weights: WeightFile | None, opset: int) -> Builder:
        return _NodeObserver(name, weights, opset, self)


class _NodeObserver(Builder):
    """Writes the statistics of every node in a scope that computes something."""

    def __init__(
        self, name: str, weights: WeightFile | None, opset: int, observed: Observed
    ) -> None:
        super().__init__(name, weights, opset)
        self._observed = observed

    def _append(
        self, name: str, kind: str, count: int, inputs: Sequence[str], attributes: dict[str, Any]
    ) -> list[str]:
        outputs = super()._append(name, kind, count, inputs, attributes)
        if kind in ARITHMETIC and "/" in name:
            for statistic in self._observed.statistics:
                if statistic.of_nodes:
                    value = statistic.nodes(self, outputs[0], 0)
                    self._observed.outputs[statistic, name] = value
        return outputs
