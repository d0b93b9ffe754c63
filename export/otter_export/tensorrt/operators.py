"""The rules of operators, per node: which there are, their types, their restrictions.

From docs/operators.md and onnxOpImporters.cpp (`releases`). A rule yields one sentence per
fault: expected, got, remedy.
"""

from __future__ import annotations

from collections.abc import Iterator

import onnx

from otter_export.tensorrt.releases import Release
from otter_export.tensorrt.view import View, attribute

Faults = Iterator[str]
STANDARD = ("", "ai.onnx")
# Which input carries the documented types, where it is not the first.
TYPED_INPUT = {"Where": 1, "Constant": None, "If": None, "Loop": None, "Scan": None}
REDUCTIONS = ["L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "Sum", "SumSquare"]
# Input that must be a constant.
CONSTANT_INPUT = {
    "Squeeze": 1,
    "Unsqueeze": 1,
    "OneHot": 1,
    "CumSum": 1,
    **{f"Reduce{kind}": 1 for kind in REDUCTIONS},
}
# How many of its outputs are supported.
OUTPUTS = {"LayerNormalization": 1, "MaxPool": 1, "Attention": 1}
ATTENTION_INPUTS = 4  # Q, K, V and a mask; no past K/V


def opset_range(view: View, release: Release) -> Faults:
    """The graph's opset is within what is documented."""
    low, high = release.opsets
    if not low <= view.opset <= high:
        yield (
            f"opset {low} to {high} is documented, got {view.opset}; "
            "export to an opset in between, or see whether the parser takes it"
        )


def operator_supported(view: View, node: onnx.NodeProto, release: Release) -> Faults:
    """The parser imports the operator."""
    if node.domain not in STANDARD:
        yield f"operators of ONNX are expected, got {node.domain}.{node.op_type}; {_remedy(node)}"
    elif node.op_type not in release.operators():
        yield f"{node.op_type} is not supported; {_remedy(node)}"


def operator_type(view: View, node: onnx.NodeProto, release: Release) -> Faults:
    """The operator takes the type it is given."""
    allowed = release.operators().get(node.op_type)
    at = TYPED_INPUT.get(node.op_type, 0)
    if node.domain not in STANDARD or allowed is None or at is None or len(node.input) <= at:
        return
    kinds = [view.type_of(node.input[at])]
    if node.op_type == "Cast":
        kinds.append(view.type_of(node.output[0]))
    for kind in kinds:
        if kind is not None and kind not in (*allowed, "DOUBLE"):
            yield f"{node.op_type} takes {', '.join(sorted(allowed))}, got {kind}; cast it before"


def double_narrowed(view: View, node: onnx.NodeProto, release: Release) -> Faults:
    """DOUBLE becomes FLOAT."""
    for name in node.input:
        if name and view.type_of(name) == "DOUBLE":
            yield f"{name} is DOUBLE, which TensorRT narrows to FLOAT; write it as FLOAT"


def constant_input(view: View, node: onnx.NodeProto, release: Release) -> Faults:
    """Axes, depths and the like are known when the engine is built."""
    at = CONSTANT_INPUT.get(node.op_type)
    if at is None or len(node.input) <= at or not node.input[at]:
        return
    if view.constant(node.input[at]) is None:
        yield f"input {at} of {node.op_type} should be a constant, it is computed; write it down"


def first_outputs(view: View, node: onnx.NodeProto, release: Release) -> Faults:
    """Outputs beyond the first few do not exist."""
    most = OUTPUTS.get(node.op_type, len(node.output))
    if any(node.output[most:]):
        yield f"{node.op_type} gives {most} output, got {len(node.output)}; leave out the others"


def squeeze_axes(view: View, node: onnx.NodeProto, release: Release) -> Faults:
    """Without axes, the shape says what is squeezed, so it must be static."""
    written = len(node.input) > 1 and node.input[1]
    if node.op_type != "Squeeze" or written or attribute(node, "axes") is not None:
        return
    shape = view.shape_of(node.input[0])
    if shape is None or None in shape:
        yield f"Squeeze without axes wants a static shape, got {shape}; write the axes"


def attention_inputs(view: View, node: onnx.NodeProto, release: Release) -> Faults:
    """Attention is 4-D, without past keys and values."""
    if node.op_type != "Attention":
        return
    if any(node.input[ATTENTION_INPUTS:]):
        yield "Attention takes no past K/V; write attention out in MatMul and Softmax"
    for name in node.input[:ATTENTION_INPUTS]:
        shape = view.shape_of(name) if name else None
        if shape is not None and len(shape) != 4:
            yield f"Attention takes 4 dimensions, {name} has {len(shape)}; reshape it"


def not_inferred(view: View, node: onnx.NodeProto, release: Release) -> Faults:
    """Where shape inference could not tell a type, the rules had nothing to hold on to."""
    for name in node.input:
        if name and view.type_of(name) is None:
            yield f"the type of {name} should follow from the graph, it does not; check this node"


def _remedy(node: onnx.NodeProto) -> str:
    if node.op_type in ("MatMulInteger", "DynamicQuantizeLinear", "MatMulNBits") or (
        node.op_type.startswith("QLinear")
    ):
        return "export with QuantizeLinear and DequantizeLinear (--precision int8 or int4)"
    return "write it with operators that are"
