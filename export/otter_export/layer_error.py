"""Where does the error enter? Every linear layer of a quantized graph beside its fp32 twin.

Two figures per layer, each a relative error ‖quantized - fp32‖ / ‖fp32‖ of the layer's output:
*own*, the layer (with the norm before it, into which outliers may have been moved) fed with what
it sees in the fp32 graph; and *accumulated*, in the graph as it runs, with what all layers before
it have added. Layers are told by the names of their weights, which every precision keeps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from otter_export.graph_run import GraphRun, Values, run

WEIGHT, NORM = ".weight", ".norm.weight"
PRODUCTS = ("MatMul", "MatMulInteger", "Gemm")
# A head that is tied to the embedding is, in fp32, the embedding's own table.
TIED = {"decoder.embedding": "decoder.head"}
# Between a layer's weight and its product, and between what enters the layer and the product.
PREPARES = ("DequantizeLinear", "Cast", "Mul", "Transpose", "Reshape")
PASSES = ("DequantizeLinear", "QuantizeLinear", "DynamicQuantizeLinear", "Cast")


@dataclass(frozen=True)
class Linear:
    """A linear layer in one graph: what enters it, before the norms it has, and its product."""

    name: str
    sources: tuple[str, ...]
    product: str


@dataclass(frozen=True)
class LayerError:
    """The two relative errors of layer `name` of `graph`."""

    graph: str
    name: str
    own: float
    accumulated: float


def layer_errors(
    truth: GraphRun, other: GraphRun, feeds: Sequence[dict[str, NDArray[Any]]]
) -> list[LayerError]:
    """Every layer that both graphs have, in the order in which they run."""
    ours = {linear.name: linear for linear in linears(other.model)}
    pairs = [(one, ours[one.name]) for one in linears(truth.model) if one.name in ours]
    wanted = sorted({value for one, _ in pairs for value in (*one.sources, one.product)})
    true = truth.values(feeds, wanted)
    seen = other.values(feeds, [linear.product for _, linear in pairs])
    return [
        LayerError(
            truth.name, one.name, _own(one, it, other, true), _accumulated(one, it, true, seen)
        )
        for one, it in pairs
    ]


def linears(model: onnx.ModelProto) -> list[Linear]:
    """The linear layers of a graph that otter_export wrote, in any of its precisions."""
    made_by = {out: node for node in model.graph.node for out in node.output}
    users: dict[str, list[onnx.NodeProto]] = {}
    for node in model.graph.node:
        for name in node.input:
            users.setdefault(name, []).append(node)
    known = {tensor.name for tensor in model.graph.initializer}
    weights = {tensor.name for tensor in model.graph.initializer if len(tensor.dims) == 2}
    found: dict[str, Linear] = {}
    for node in model.graph.node:
        if node.op_type in PRODUCTS:
            weight = _weight(node, made_by, weights)
            if weight is not None:
                name = weight.removesuffix(WEIGHT)
                name = TIED.get(name, name)
                sources = tuple(s for s in _sources(node.input[0], made_by) if s not in known)
                found[name] = Linear(name, sources, _product(node, users))
    return list(found.values())


def _weight(
    node: onnx.NodeProto, made_by: dict[str, onnx.NodeProto], weights: set[str]
) -> str | None:
    """The initializer that is the product's second factor, whatever is done to it first."""
    value = node.input[1]
    while value not in weights:
        maker = made_by.get(value)
        if maker is None or maker.op_type not in PREPARES:
            return None
        value = maker.input[0]
    return value if value.endswith(WEIGHT) else None


def _sources(value: str, made_by: dict[str, onnx.NodeProto]) -> list[str]:
    """Back from the product's first factor, through quantization, and a norm if there is one.

    Where normed values are joined, as the perceiver's media and latents are, back through each.
    """
    while (maker := made_by.get(value)) is not None and maker.op_type in PASSES:
        value = maker.input[0]
    if maker is not None and maker.op_type == "Concat":
        return [source for part in maker.input for source in _sources(part, made_by)]
    if maker is not None and maker.op_type == "LayerNormalization":
        value = maker.input[0]
    elif maker is not None and maker.op_type == "Mul" and maker.input[1].endswith(NORM):
        value = made_by[maker.input[0]].input[0]  # RMS: Mul(Div(x, root), weight)
    while (maker := made_by.get(value)) is not None and maker.op_type == "Cast":
        value = maker.input[0]
    return [value]


def _product(node: onnx.NodeProto, users: dict[str, list[onnx.NodeProto]]) -> str:
    """The product as floats: an integer one is cast and scaled first."""
    value: str = node.output[0]
    if node.op_type != "MatMulInteger":
        return value
    while users[value][0].op_type in ("Cast", "Mul"):
        value = users[value][0].output[0]
    return value


def _own(one: Linear, it: Linear, other: GraphRun, true: Sequence[Values]) -> float:
    pairs = list(zip(it.sources, one.sources, strict=True))
    feeds = [{ours: values[theirs] for ours, theirs in pairs} for values in true]
    made = run(other.between(it.sources, it.product), other.folder, feeds, [it.product])
    return _relative([v[one.product] for v in true], [v[it.product] for v in made])


def _accumulated(one: Linear, it: Linear, true: Sequence[Values], seen: Sequence[Values]) -> float:
    return _relative([v[one.product] for v in true], [v[it.product] for v in seen])


def _relative(truth: Sequence[NDArray[Any]], other: Sequence[NDArray[Any]]) -> float:
    error = sum(float(np.square(a - b).sum()) for a, b in zip(truth, other, strict=True))
    whole = sum(float(np.square(a).sum()) for a in truth)
    return float(np.sqrt(error / whole)) if whole else 0.0
