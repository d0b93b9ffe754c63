"""The rules of QuantizeLinear and DequantizeLinear, per node.

From QuantDequantLinearHelper in onnxOpImporters.cpp and IQuantizeLayer, IDequantizeLayer in
NvInfer.h (`releases`). A rule yields one sentence per fault: expected, got, remedy. Where the
graph does not tell a shape, a rule that needs it is silent.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx

from otter_export.tensorrt.releases import Release
from otter_export.tensorrt.view import Shape, View, attribute

Faults = Iterator[str]
QUANTIZED = ("QuantizeLinear", "DequantizeLinear")
INT4_USERS = ("MatMul", "Gemm")


def zero_point_zero(view: View, node: onnx.NodeProto, release: Release) -> Faults:
    """Zero points must be constants, and all 0."""
    if not (name := _zero_point(node)):
        return
    values = view.array(name)
    if values is None:
        yield f"zero point {name} should be a constant, it is computed; quantize symmetrically"
    elif np.any(values.astype(np.float32) != 0):
        yield f"zero point {name} should be all 0, it is not; quantize symmetrically"


def zero_point_size(view: View, node: onnx.NodeProto, release: Release) -> Faults:
    """As many zero points as scales."""
    zero, scale = _size(view, _zero_point(node)), _size(view, node.input[1])
    if zero is not None and scale is not None and zero != scale:
        yield f"{scale} scales want {scale} zero points, got {zero}; write one for each scale"


def no_uint8(view: View, node: onnx.NodeProto, release: Release) -> Faults:
    """UINT8 is for inputs and outputs of the network only; unsigned quantization is DLA's."""
    for name in node.input:
        if view.type_of(name) in ("UINT8", "UINT4"):
            yield f"{name} is {view.type_of(name)}, TensorRT quantizes to INT8; use signed types"
    untyped = not _zero_point(node) and attribute(node, "output_dtype") is None
    if node.op_type == "QuantizeLinear" and untyped:
        yield "without a zero point ONNX quantizes to UINT8; write one of type INT8"


def scale_positive(view: View, node: onnx.NodeProto, release: Release) -> Faults:
    """Scales must be greater than 0."""
    values = view.array(node.input[1])
    if values is not None and not np.all(values.astype(np.float32) > 0):
        least = float(values.astype(np.float32).min())
        yield f"scale {node.input[1]} should be positive, its least is {least:g}; calibrate again"


def scale_constant(view: View, node: onnx.NodeProto, release: Release) -> Faults:
    """Scales are build-time constants up to 10.12, and of a static shape ever since."""
    name = node.input[1]
    if view.constant(name) is not None:
        return
    if release.constant_scale:
        yield f"scale {name} should be a constant, it is computed; calibrate statically"
    elif not _static(view.shape_of(name)):
        yield f"scale {name} should have a static shape, got {view.shape_of(name)}; fix its shape"


def scale_length(view: View, node: onnx.NodeProto, release: Release) -> Faults:
    """A 1-D scale has one number for each slice along the axis."""
    data, scale = view.shape_of(node.input[0]), view.shape_of(node.input[1])
    if data is None or scale is None or len(scale) != 1 or scale[0] in (1, None):
        return
    axis = _axis(node, len(data))
    if axis is not None and data[axis] not in (scale[0], None):
        yield (
            f"axis {axis} of {node.input[0]} has {data[axis]} slices, got {scale[0]} scales; "
            "write the axis that the scales belong to"
        )


def axis_written(view: View, node: onnx.NodeProto, release: Release) -> Faults:
    """TensorRT's parser took axis 0 where none is written (10.1), ONNX takes 1."""
    if attribute(node, "axis") is None and _size(view, node.input[1]) not in (1, None):
        yield "axis should be written, its default differs between ONNX and TensorRT; write it"


def axis_range(view: View, node: onnx.NodeProto, release: Release) -> Faults:
    """The axis, 1 where none is written, must be one of the data's, also with a single scale."""
    data = view.shape_of(node.input[0])
    if data and _axis(node, len(data)) is None:
        axis = attribute(node, "axis")
        got = "none, so 1" if axis is None else axis
        yield f"axis should be within {len(data)} dimensions, got {got}; write one that is"


def activation_per_tensor(view: View, node: onnx.NodeProto, release: Release) -> Faults:
    """Only what is rooted at a constant has more than one scale."""
    size = _size(view, node.input[1])
    if size not in (1, None) and not _weight(view, node):
        yield f"an activation should have one scale, got {size}; quantize it per tensor"


def weight_per_channel(view: View, node: onnx.NodeProto, release: Release) -> Faults:
    """One scale for a whole matrix is allowed, and loses accuracy."""
    data = view.shape_of(node.input[0])
    if _size(view, node.input[1]) == 1 and _weight(view, node) and data and len(data) > 1:
        yield f"{node.input[0]} should have a scale per channel, it has one; quantize per channel"


def scale_type(view: View, node: onnx.NodeProto, release: Release) -> Faults:
    """Strongly typed: a half-precision scale has the type of what it quantizes."""
    scale, data = view.type_of(node.input[1]), view.type_of(node.input[0])
    halves = ("FLOAT16", "BFLOAT16")
    if node.op_type == "QuantizeLinear" and data and (scale in halves) and scale != data:
        yield f"a {scale} scale wants {scale} data, got {data}; write the scale as {data}"


def blocked_rank(view: View, node: onnx.NodeProto, release: Release) -> Faults:
    """A scale is one number, a vector, or has the data's number of dimensions; two up to 10.12."""
    data, scale = view.shape_of(node.input[0]), view.shape_of(node.input[1])
    if data is None or scale is None or _size(view, node.input[1]) == 1 or len(scale) == 1:
        return
    if len(scale) != len(data):
        yield (
            f"blocked scales of {len(data)}-dimensional data should have {len(data)} dimensions, "
            f"got {len(scale)}; write one scale for each block in place"
        )
    elif len(data) != 2 and release.blocked_types == {"INT4"}:
        yield f"blocked data should have 2 dimensions, got {len(data)}; flatten it"


def blocked_once(view: View, node: onnx.NodeProto, release: Release) -> Faults:
    """Exactly one of the last two dimensions is cut into blocks."""
    if (shapes := _blocked(view, node)) is None:
        return
    data, scale = shapes
    cut = [i for i, (d, s) in enumerate(zip(data, scale, strict=True)) if d != s]
    if len(cut) != 1:
        yield (
            f"exactly one dimension should be blocked, got {len(cut)} ({data} by {scale}); "
            "write whole scales along all others"
        )
    elif cut[0] < len(data) - 2:
        yield f"the last or second to last dimension should be blocked, got {cut[0]}; transpose"


def blocked_even(view: View, node: onnx.NodeProto, release: Release) -> Faults:
    """Blocks divide their dimension, and are as large as `block_size` says."""
    if (shapes := _blocked(view, node)) is None:
        return
    size = attribute(node, "block_size")
    for d, s in zip(*shapes, strict=True):
        if d != s and d % s:
            yield f"blocks should divide {d}, got {s} of them; pad it or choose another size"
        elif d != s and size is not None and size != d // s:
            yield f"block_size {size} should be {d} / {s} = {d // s}; write the true one"


def blocked_type(view: View, node: onnx.NodeProto, release: Release) -> Faults:
    """Which quantized types have blocked scales."""
    if _blocked(view, node) is None:
        return
    kind = view.type_of(node.input[0] if node.op_type == "DequantizeLinear" else node.output[0])
    if kind is not None and kind not in release.blocked_types:
        allowed = ", ".join(sorted(release.blocked_types))
        yield f"blocked scales are for {allowed}, got {kind}; quantize it per channel"


def blocked_opset(view: View, node: onnx.NodeProto, release: Release) -> Faults:
    """ONNX has blocked scales, and 4-bit types, from opset 21 on."""
    if view.opset < 21 and (_blocked(view, node) is not None or _int4(view, node)):
        yield f"blocked and 4-bit data need opset 21, got {view.opset}; write the graph in 21"


def int4_even(view: View, node: onnx.NodeProto, release: Release) -> Faults:
    """Two numbers share a byte, so the last dimension is even."""
    data = view.shape_of(node.input[0])
    if _int4(view, node) and data and data[-1] is not None and data[-1] % 2:
        yield f"the last dimension of INT4 data should be even, got {data[-1]}; pad it"


def int4_weight_only(view: View, node: onnx.NodeProto, release: Release) -> Faults:
    """INT4 goes from a constant through DequantizeLinear into a matrix product, nowhere else."""
    if not _int4(view, node):
        return
    if node.op_type == "QuantizeLinear":
        yield "activations cannot be INT4; quantize weights only"
        return
    if node.input[0] not in view.constants:
        yield f"{node.input[0]} should be a constant, it is computed; quantize weights only"
    others = {user.op_type for user in view.users.get(node.output[0], [])} - set(INT4_USERS)
    if others or node.output[0] in view.outputs:
        got = ", ".join(sorted(others)) or "the graph's output"
        yield f"INT4 weights should go into MatMul, got {got}; use another precision there"


def _zero_point(node: onnx.NodeProto) -> str:
    return node.input[2] if len(node.input) > 2 else ""


def _axis(node: onnx.NodeProto, rank: int) -> int | None:
    """The axis as it counts, from the front; None where it is out of range."""
    axis = attribute(node, "axis")
    axis = 1 if axis is None else axis
    return axis % rank if -rank <= axis < rank else None


def _static(shape: Shape | None) -> bool:
    return shape is not None and None not in shape


def _size(view: View, value: str) -> int | None:
    shape = view.shape_of(value) if value else None
    if shape is None or None in shape:
        return None
    return int(np.prod([d or 0 for d in shape], dtype=np.int64))


def _weight(view: View, node: onnx.NodeProto) -> bool:
    """Whether what the node quantizes is rooted at a constant."""
    value = node.input[0]
    maker = view.makers.get(value)
    if maker is not None and maker.op_type == "QuantizeLinear":
        value = maker.input[0]
    return view.constant(value) is not None


def _int4(view: View, node: onnx.NodeProto) -> bool:
    names = (node.input[0], _zero_point(node), node.output[0])
    return any(view.type_of(name) == "INT4" for name in names)


def _blocked(view: View, node: onnx.NodeProto) -> tuple[list[int], list[int]] | None:
    """Shapes of data and scales where the scales are blocked and both are known."""
    data, scale = view.shape_of(node.input[0]), view.shape_of(node.input[1])
    if data is None or scale is None or len(data) != len(scale) or len(scale) < 2:
        return None
    if _size(view, node.input[1]) in (1, None) or None in data:
        return None
    return [d or 0 for d in data], [s or 0 for s in scale]
