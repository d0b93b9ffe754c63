"""What one run of a graph cannot do without: bytes that are read, and multiply-adds of products.

Read off the ONNX file with its free dimensions given; weights are not loaded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper, shape_inference
from onnx.reference import ReferenceEvaluator

PRODUCTS = ("MatMul", "Gemm")
PACKED: dict[int, float] = {TensorProto.INT4: 0.5, TensorProto.UINT4: 0.5}


@dataclass(frozen=True)
class Cost:
    """Of one run: bytes of weights, inputs and outputs; floating-point operations of products."""

    bytes: int
    flops: int


def cost(path: Path, sizes: Mapping[str, int]) -> Cost:
    """The cost of graph `path` with its free dimensions `sizes`; its weights lie outside of it."""
    model = onnx.load(str(path), load_external_data=False)
    for value in (*model.graph.input, *model.graph.output):
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param in sizes:
                dim.dim_value = sizes[dim.dim_param]
    _fold(model.graph)
    graph = shape_inference.infer_shapes(model, data_prop=True).graph
    shapes = {tensor.name: list(tensor.dims) for tensor in graph.initializer}
    for value in (*graph.input, *graph.value_info, *graph.output):
        shapes[value.name] = [d.dim_value for d in value.type.tensor_type.shape.dim]
    weights = [tensor for tensor in graph.initializer if tensor.external_data]
    moved = sum(_weight_bytes(graph, tensor, shapes) for tensor in weights)
    moved += sum(
        int(np.prod(shapes[v.name])) * _itemsize(v.type.tensor_type.elem_type)
        for v in (*graph.input, *graph.output)
    )
    return Cost(int(moved), sum(_flops(node, shapes) for node in graph.node))


def _fold(graph: onnx.GraphProto) -> None:
    """Replace what follows from the inputs' shapes alone by its value, as a session would.

    onnx's own inference gives up at Range, and with it at every mask and slice.
    """
    shapes = {
        value.name: [d.dim_value for d in value.type.tensor_type.shape.dim] for value in graph.input
    }
    small = {t.name: t for t in graph.initializer if not t.external_data}
    known = set(small)
    folded = []
    for node in graph.node:
        sized = node.op_type == "Shape" and node.input[0] in shapes
        if sized or (node.op_type != "Shape" and known.issuperset(filter(None, node.input))):
            known.update(node.output)
            folded.append(node)
    sources = {node.input[0] for node in folded if node.op_type == "Shape"}
    results = [output for node in folded for output in node.output]
    inner = helper.make_graph(
        folded,
        "shapes",
        [value for value in graph.input if value.name in sources],
        [helper.make_value_info(name, onnx.TypeProto()) for name in results],
        list(small.values()),
    )
    model = helper.make_model(inner, opset_imports=[helper.make_opsetid("", 21)])
    feeds = {name: np.zeros(shapes[name], np.int8) for name in sources}
    for name, value in zip(results, ReferenceEvaluator(model).run(None, feeds), strict=True):
        graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
    for node in folded:
        graph.node.remove(node)


def _weight_bytes(
    graph: onnx.GraphProto, tensor: onnx.TensorProto, shapes: Mapping[str, list[int]]
) -> float:
    """A weight's bytes; of a table only the rows that are looked up."""
    users = [node for node in graph.node if tensor.name in node.input]
    if users and all(node.op_type == "Gather" and node.input[0] == tensor.name for node in users):
        rows = sum(int(np.prod(shapes.get(node.input[1], [1]))) for node in users)
        count = rows * int(np.prod(tensor.dims[1:]))
    else:
        count = int(np.prod(tensor.dims))
    return count * _itemsize(tensor.data_type)


def _itemsize(kind: int) -> float:
    return PACKED.get(kind) or float(helper.tensor_dtype_to_np_dtype(kind).itemsize)


def _flops(node: onnx.NodeProto, shapes: Mapping[str, list[int]]) -> int:
    """2 · rows · inner · columns of a product; 0 where a shape does not follow from the graph."""
    if node.op_type not in PRODUCTS:
        return 0
    known: list[Any] = [shapes.get(node.input[0]), shapes.get(node.output[0])]
    if not all(known):
        return 0
    return 2 * int(np.prod(known[1])) * int(known[0][-1])
