"""What calibration sees: statistics of each linear layer's input, written as nodes of fp32 graphs.

The network's blocks run in fp32 over the samples (`reference.py`); each statistic is one more
output per linear layer, and those of several samples are merged. `Seen` maps the statistic's name
and the layer's to the value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from otter_export.builder import Builder, Dim
from otter_export.precision.fp32 import Fp32
from otter_export.precision.protocol import Floats

Seen = Mapping[str, Mapping[str, NDArray[Any]]]


@dataclass(frozen=True)
class Statistic:
    """One figure of a linear layer's input x (…, in).

    `nodes(builder, x, in)` writes it and returns its name; `merged` joins two samples' values.
    """

    name: str
    shape: tuple[Dim, ...]
    nodes: Callable[[Builder, str, int], str]
    merged: Callable[[NDArray[Any], NDArray[Any]], NDArray[Any]]


def _largest(b: Builder, x: str, width: int) -> str:
    flat = b.op("Reshape", b.op("Abs", x), b.constant([-1, width]))
    return b.op("ReduceMax", flat, b.constant([0]), keepdims=0)


# The largest |x| per input channel (in,).
LARGEST = Statistic("largest", ("channels",), _largest, np.maximum)


@dataclass
class Observed(Fp32):
    """fp32 that also writes `statistics` of each linear layer's input."""

    statistics: Iterable[Statistic] = (LARGEST,)
    outputs: dict[tuple[Statistic, str], str] = field(default_factory=dict)  # of (…, layer): value
    name = "observed"

    def linear(
        self,
        b: Builder,
        x: str,
        name: str,
        matrix: Floats,
        bias: Floats | None,
        divided: Floats | None = None,
    ) -> str:
        for statistic in self.statistics:
            self.outputs[statistic, name] = statistic.nodes(b, x, matrix.shape[0])
        return super().linear(b, x, name, matrix, bias)
