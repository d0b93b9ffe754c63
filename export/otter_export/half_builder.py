"""A graph whose arithmetic is float16 where that is safe: types are chosen node by node.

Every float value is half or single, and a node's inputs are cast to the type it is computed in.
A node is half where calibration saw its result, and that of every input, well inside half's range,
and either all of its inputs are half already or it is a matrix product, which is where half pays.
So norms, softmax, the scores that enter it and the residual stream stay single, as does all that
calibration could not see: graph inputs, and products with the caches, whose buffers are float32
(casting them would cost more than the product saves), and products whose weight was left float32
because half would lose it. Moving values about never changes a type.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto

from otter_export.builder import Builder, Dim
from otter_export.weight_file import WeightFile

HALF, SINGLE = TensorProto.FLOAT16, TensorProto.FLOAT
FLOATS = {np.dtype(np.float16): HALF, np.dtype(np.float32): SINGLE}
LARGEST_HALF = 65504.0
# Calibration is a sample: what it saw may be exceeded fourfold.
LIMIT = LARGEST_HALF / 4
PRODUCT = "MatMul"
# These sum over many elements, or divide by such a sum: half would lose what they are about.
SUMS = frozenset(("LayerNormalization", "Softmax", "ReduceMean", "Pow", "Sqrt", "Div"))
ARITHMETIC = SUMS | {PRODUCT, "Add", "Mul", "Gelu", "Sigmoid"}
QUANTIZE = ("QuantizeLinear", "DequantizeLinear")
ISLANDS = "float32"  # the model's metadata that says what stayed single


class HalfBuilder(Builder):
    """`peaks` holds the largest |output| that calibration saw, by node name."""

    def __init__(
        self,
        name: str,
        weights: WeightFile | None,
        opset: int,
        peaks: Mapping[str, NDArray[Any]],
    ) -> None:
        super().__init__(name, weights, opset)
        self._peaks = peaks
        self._types: dict[str, int] = {}  # of every float value but scalars
        self._largest: dict[str, float] = {}  # of the values that calibration saw, and weights
        self._scalars: dict[str, NDArray[np.float32]] = {}  # these take the type of their node
        self._wide: set[str] = set()  # float32 weights
        self._casts: dict[tuple[str, int], str] = {}
        self._single: Counter[str] = Counter()
        self._out_of_range: dict[str, float] = {}

    def saw(self, value: str, largest: float) -> None:
        """Tell that calibration saw `value` up to this magnitude, where no node of it says so."""
        self._largest[value] = largest

    def input(self, name: str, dtype: str, shape: Sequence[Dim]) -> str:
        if dtype == "float32":
            self._types[name] = SINGLE
        return super().input(name, dtype, shape)

    def output(self, value: str, name: str, dtype: str, shape: Sequence[Dim]) -> None:
        super().output(self._as(value, SINGLE), name, dtype, shape)

    def constant(self, value: Any, dtype: Any = np.int64) -> str:
        name = super().constant(value, dtype)
        if np.dtype(dtype) == np.float32:
            self._scalars[name] = np.asarray(value, np.float32)
        return name

    def weight(self, name: str, array: NDArray[Any]) -> str:
        if array.dtype in FLOATS:
            self._types[name] = FLOATS[array.dtype]
            self._largest[name] = 0.0 if array.dtype == np.float16 else float(np.abs(array).max())
        if array.dtype == np.float32:
            self._wide.add(name)
        return super().weight(name, array)

    def ops(self, kind: str, count: int, *inputs: str, **attributes: Any) -> list[str]:
        name = self._unique(kind.lower())
        wanted = self._type(kind, name, inputs, attributes)
        if wanted is not None and kind != "Cast":
            inputs = tuple(self._as(value, wanted) for value in inputs)
        outputs = self._append(name, kind, count, inputs, attributes)
        if wanted is not None and kind != "QuantizeLinear":
            self._types |= dict.fromkeys(outputs, wanted)
            largest = self._seen(name) if kind in ARITHMETIC else self._bound(inputs)
            self._largest |= dict.fromkeys(outputs, largest)
        return outputs

    def model(self) -> ModelProto:
        model = super().model()
        told = {"nodes": dict(sorted(self._single.items())), "out_of_range": self._out_of_range}
        model.metadata_props.add(key=ISLANDS, value=json.dumps(told))
        return model

    def _type(
        self, kind: str, name: str, inputs: Sequence[str], attributes: Mapping[str, Any]
    ) -> int | None:
        """The type to compute node `name` in; None where it computes no floats."""
        if kind == "Cast":
            return attributes["to"] if attributes["to"] in (HALF, SINGLE) else None
        floats = [value for value in inputs if value in self._types]
        if kind == "Shape" or not (floats or any(value in self._scalars for value in inputs)):
            return None
        half = bool(floats) and all(self._types[value] == HALF for value in floats)
        if kind in ARITHMETIC:
            half = self._computes_in_half(kind, name, floats, half)
        elif kind in QUANTIZE:
            half = False
        return HALF if half else SINGLE

    def _computes_in_half(self, kind: str, name: str, floats: list[str], half: bool) -> bool:
        """Whether a node that computes does so in half; notes those that do not."""
        wanted = kind not in SUMS and (half or kind == PRODUCT) and name in self._peaks
        largest = max(self._seen(name), self._bound(floats))
        wide = kind == PRODUCT and not self._wide.isdisjoint(floats)
        if wanted and largest <= LIMIT and not wide:
            return True
        self._single[kind] += 1
        if wanted and np.isfinite(largest):
            self._out_of_range[name] = largest
        return False

    def _seen(self, name: str) -> float:
        """The largest magnitude that calibration saw node `name` give."""
        return float(self._peaks.get(name, np.inf))

    def _bound(self, values: Sequence[str]) -> float:
        """The largest magnitude among `values`; infinite where calibration did not see one."""
        floats = [value for value in values if value in self._types]
        return max((self._largest.get(value, np.inf) for value in floats), default=np.inf)

    def _as(self, value: str, wanted: int) -> str:
        """`value` in the type `wanted`, cast once; what is no float stays as it is."""
        if value in self._scalars and wanted == HALF:
            return super().constant(self._scalars[value], np.float16)
        if self._types.get(value, wanted) == wanted:
            return value
        if (value, wanted) not in self._casts:
            self._casts[value, wanted] = self.op("Cast", value, to=wanted)
        return self._casts[value, wanted]
