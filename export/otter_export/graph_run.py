"""One graph of a bundle, run on given inputs, with any value inside it as an output.

It knows the names of values, not what they mean. The weights stay in the bundle's files.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from otter_runtime.bundle import Bundle
from otter_runtime.onnx_engine import FLOAT_ACTIVATIONS

QUIET = 3
Values = dict[str, NDArray[Any]]


class GraphRun:
    """Graph `name` (vision, resampler or decoder) of `bundle`."""

    def __init__(self, bundle: Bundle, name: str, threads: int = 0) -> None:
        self.name = name
        self.folder = bundle.path
        self.precision: str = getattr(bundle.manifest.graphs, name).precision
        path = bundle.path / getattr(bundle.manifest.graphs, name).file
        self.model = onnx.load(str(path), load_external_data=False)
        self._threads = threads

    @cached_property
    def dtypes(self) -> dict[str, int]:
        """The element type (onnx.TensorProto) of every value, inputs and outputs included."""
        inferred = onnx.shape_inference.infer_shapes(self.model).graph
        values = [*inferred.value_info, *inferred.input, *inferred.output]
        known = {value.name: value.type.tensor_type.elem_type for value in values}
        return known | {tensor.name: tensor.data_type for tensor in inferred.initializer}

    def values(
        self, feeds: Iterable[Mapping[str, NDArray[Any]]], wanted: list[str]
    ) -> list[Values]:
        """The `wanted` values, floats as float32, for each feed; inputs not fed are left out."""
        model = onnx.ModelProto()
        model.CopyFrom(self.model)
        known = {output.name for output in model.graph.output}
        for name in wanted:
            if name not in known:
                kind = self.dtypes[name]
                model.graph.output.append(onnx.helper.make_tensor_value_info(name, kind, None))
        return run(model, self.folder, feeds, wanted, self._threads)

    def between(self, starts: Sequence[str], end: str) -> onnx.ModelProto:
        """The nodes that make `end` out of `starts` and initializers alone, as a model."""
        made_by = {out: node for node in self.model.graph.node for out in node.output}
        nodes: list[onnx.NodeProto] = []
        waiting, seen = [end], set(starts)
        while waiting:
            value = waiting.pop()
            node = made_by.get(value)
            if value in seen or node is None:
                continue
            seen.update(node.output)
            nodes.append(node)
            waiting += node.input
        order = {id(node): at for at, node in enumerate(self.model.graph.node)}
        nodes.sort(key=lambda node: order[id(node)])
        used = {name for node in nodes for name in node.input}
        graph = onnx.helper.make_graph(
            nodes,
            f"to {end}",
            [onnx.helper.make_tensor_value_info(name, self.dtypes[name], None) for name in starts],
            [onnx.helper.make_tensor_value_info(end, self.dtypes[end], None)],
            [tensor for tensor in self.model.graph.initializer if tensor.name in used],
        )
        return onnx.helper.make_model(
            graph, opset_imports=self.model.opset_import, ir_version=self.model.ir_version
        )


def run(
    model: onnx.ModelProto,
    folder: Path,
    feeds: Iterable[Mapping[str, NDArray[Any]]],
    wanted: list[str],
    threads: int = 0,
) -> list[Values]:
    """Run `model`, whose external data lies in `folder`, on each feed."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = QUIET
    options.intra_op_num_threads = threads
    options.add_session_config_entry(
        "session.model_external_initializers_file_folder_path", str(folder)
    )
    options.add_session_config_entry(*FLOAT_ACTIVATIONS)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    inputs = {value.name: value.type for value in session.get_inputs()}
    return [
        dict(zip(wanted, map(_float32, session.run(wanted, _given(feed, inputs))), strict=True))
        for feed in feeds
    ]


def _given(feed: Mapping[str, NDArray[Any]], inputs: Mapping[str, str]) -> Values:
    """What the session takes of `feed`, as half precision where it takes that."""
    return {
        name: feed[name].astype(np.float16) if kind == "tensor(float16)" else feed[name]
        for name, kind in inputs.items()
    }


def _float32(value: NDArray[Any]) -> NDArray[Any]:
    return value.astype(np.float32) if value.dtype == np.float16 else value
