"""ONNX graphs written by hand: nodes, constants, inputs, outputs. It knows nothing of Otter.

Tracing would give the graphs of whatever torch version is installed; these are ours node by
node, so that Q/DQ stands where ONNX Runtime fuses it and TensorRT's parser accepts it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from otter_export.weight_file import WeightFile

OPSET = 20
IR_VERSION = 10  # ONNX Runtime 1.23, the last for JetPack 6, reads up to 11
# Shapes and scalars stay in the graph, where shape inference reads them; weights go outside.
INLINE_BYTES = 512

Dim = int | str
DTYPES = {"float32": TensorProto.FLOAT, "int64": TensorProto.INT64}


class Builder:
    """One graph under construction; every value is known by the name that `op` returned."""

    def __init__(self, name: str, weights: WeightFile | None = None, opset: int = OPSET) -> None:
        self.name = name
        self.opset = opset
        self._weights = weights
        self._nodes: list[onnx.NodeProto] = []
        self._inputs: list[onnx.ValueInfoProto] = []
        self._outputs: list[onnx.ValueInfoProto] = []
        self._initializers: dict[str, onnx.TensorProto] = {}
        self._constants: dict[tuple[str, tuple[int, ...], bytes], str] = {}
        self._scope: list[str] = []
        self._taken: dict[str, int] = {}
        self._renamed: dict[str, str] = {}

    def input(self, name: str, dtype: str, shape: Sequence[Dim]) -> str:
        """Declare a graph input; returns `name`."""
        self._inputs.append(helper.make_tensor_value_info(name, DTYPES[dtype], list(shape)))
        return name

    def output(self, value: str, name: str, dtype: str, shape: Sequence[Dim]) -> None:
        """Declare `value` as the graph output `name`."""
        self._renamed[value] = name
        self._outputs.append(helper.make_tensor_value_info(name, DTYPES[dtype], list(shape)))

    def op(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """Append a node of operator `kind` with one output; returns that output's name."""
        return self.ops(kind, 1, *inputs, **attributes)[0]

    def ops(self, kind: str, count: int, *inputs: str, **attributes: Any) -> list[str]:
        """Append a node with `count` outputs; returns their names."""
        return self._append(self._unique(kind.lower()), kind, count, inputs, attributes)

    def constant(self, value: Any, dtype: Any = np.int64) -> str:
        """A small constant; equal ones are stored once."""
        array = np.asarray(value, dtype)
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._constants:
            self._constants[key] = self._store(f"constant.{len(self._constants)}", array)
        return self._constants[key]

    def weight(self, name: str, array: NDArray[Any]) -> str:
        """An initializer under its own name, stored outside the graph where it is large."""
        return self._store(name, array)

    def has(self, name: str, dtype: str) -> bool:
        """Whether there is an initializer of this name and type."""
        known = self._initializers.get(name)
        return known is not None and known.data_type == DTYPES[dtype]

    def scope(self, name: str) -> Scope:
        """`with builder.scope("layers.3"):` names the nodes inside after it."""
        return Scope(self._scope, name)

    def model(self) -> onnx.ModelProto:
        """The graph as a model of this opset."""
        for node in self._nodes:
            for names in (node.input, node.output):
                names[:] = [self._renamed.get(name, name) for name in names]
        graph = helper.make_graph(
            self._nodes,
            self.name,
            self._inputs,
            self._outputs,
            list(self._initializers.values()),
        )
        return helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", self.opset)],
            ir_version=IR_VERSION,
            producer_name="otter-edge",
        )

    def save(self, path: Path) -> None:
        """Write the graph to `path`; its weights are already beside it."""
        path.write_bytes(self.model().SerializeToString())
        onnx.checker.check_model(str(path))

    def _append(
        self, name: str, kind: str, count: int, inputs: Sequence[str], attributes: dict[str, Any]
    ) -> list[str]:
        outputs = [name] if count == 1 else [f"{name}.{i}" for i in range(count)]
        self._nodes.append(helper.make_node(kind, list(inputs), outputs, name=name, **attributes))
        return outputs

    def _store(self, name: str, array: NDArray[Any]) -> str:
        if name in self._initializers:
            raise ValueError(f"initializer {name} exists already")
        if self._weights is not None and array.nbytes > INLINE_BYTES:
            self._initializers[name] = self._weights.append(name, array)
        else:
            self._initializers[name] = numpy_helper.from_array(array, name)
        return name

    def _unique(self, kind: str) -> str:
        name = "/".join([*self._scope, kind])
        self._taken[name] = self._taken.get(name, 0) + 1
        return name if self._taken[name] == 1 else f"{name}_{self._taken[name]}"


class Scope:
    """Names the nodes made inside a `with` after it; gives what their names begin with."""

    def __init__(self, stack: list[str], name: str) -> None:
        self._stack = stack
        self._name = name

    def __enter__(self) -> str:
        self._stack.append(self._name)
        return "/".join(self._stack)

    def __exit__(self, *_: object) -> None:
        self._stack.pop()
