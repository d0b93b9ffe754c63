"""One ONNX graph as the rules see it: types, shapes, constants, who makes and who uses a value.

Weights stay where they are; only scales and zero points are read. It knows no rule.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper, shape_inference

from otter_runtime.errors import UserError

Shape = tuple[int | None, ...]  # None where a dimension is free
PASSING = ("Cast", "Identity")  # through these the parser looks back for a constant


class View:
    """The graph in the ONNX file `path`."""

    def __init__(self, path: Path) -> None:
        model = _read(path)
        self.name = path.stem
        self.folder = path.parent
        self.opset = max(
            (o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), default=0
        )
        self.constants: dict[str, onnx.TensorProto] = {}
        self.makers: dict[str, onnx.NodeProto] = {}
        self.users: dict[str, list[onnx.NodeProto]] = {}
        self._types: dict[str, int] = {}
        self._shapes: dict[str, Shape] = {}
        self._take(model.graph)
        self.nodes = list(_nodes(model.graph))
        self.outputs = {value.name for value in model.graph.output}

    def type_of(self, value: str) -> str | None:
        """FLOAT, INT8, ...; None where inference could not tell."""
        known = self._types.get(value, TensorProto.UNDEFINED)
        return None if known == TensorProto.UNDEFINED else TensorProto.DataType.Name(known)

    def shape_of(self, value: str) -> Shape | None:
        """Dimensions; None where not even their number is known."""
        return self._shapes.get(value)

    def constant(self, value: str) -> onnx.TensorProto | None:
        """The constant behind `value`, also through Cast and Identity."""
        while value not in self.constants and value in self.makers:
            maker = self.makers[value]
            if maker.op_type not in PASSING:
                return None
            value = maker.input[0]
        return self.constants.get(value)

    def array(self, value: str) -> NDArray[Any] | None:
        """The numbers of the constant behind `value`; UserError where its file is not there."""
        tensor = self.constant(value)
        if tensor is None:
            return None
        try:
            found: NDArray[Any] = np.asarray(numpy_helper.to_array(tensor, str(self.folder)))
        except Exception as error:  # onnx raises ValidationError, OSError and others
            raise UserError(
                f"the numbers of {tensor.name} in {self.name}.onnx cannot be read "
                f"({str(error).splitlines()[0]}); put the graph's data file beside it"
            ) from error
        return found

    def _take(self, graph: onnx.GraphProto) -> None:
        for tensor in graph.initializer:
            self._constant(tensor.name, tensor)
        for info in (*graph.input, *graph.value_info, *graph.output):
            self._value(info)
        for node in graph.node:
            for output in node.output:
                self.makers[output] = node
            for used in node.input:
                self.users.setdefault(used, []).append(node)
            if node.op_type == "Constant":
                for attribute in node.attribute:
                    if attribute.HasField("t"):
                        self._constant(node.output[0], attribute.t)
            for inner in _inner(node):
                self._take(inner)

    def _constant(self, name: str, tensor: onnx.TensorProto) -> None:
        self.constants[name] = tensor
        self._types[name] = tensor.data_type
        self._shapes[name] = tuple(tensor.dims)

    def _value(self, info: onnx.ValueInfoProto) -> None:
        tensor = info.type.tensor_type
        self._types[info.name] = tensor.elem_type
        if tensor.HasField("shape"):
            self._shapes[info.name] = tuple(
                dim.dim_value if dim.HasField("dim_value") else None for dim in tensor.shape.dim
            )


def attribute(node: onnx.NodeProto, name: str) -> Any:
    """The node's attribute of this name; None where it is not written."""
    for found in node.attribute:
        if found.name == name:
            return helper.get_attribute_value(found)
    return None


def _read(path: Path) -> onnx.ModelProto:
    try:
        model = onnx.load(str(path), load_external_data=False)
        return shape_inference.infer_shapes(model, data_prop=True)
    except OSError as error:
        raise UserError(
            f"{path} cannot be read ({error.strerror}); give a bundle's folder or an ONNX file"
        ) from error
    except Exception as error:  # protobuf's DecodeError, onnx's InferenceError
        raise UserError(
            f"{path} is not an ONNX graph ({str(error).splitlines()[0]}); export it again"
        ) from error


def _inner(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    for found in node.attribute:
        if found.HasField("g"):
            yield found.g
        yield from found.graphs


def _nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    for node in graph.node:
        yield node
        for inner in _inner(node):
            yield from _nodes(inner)
