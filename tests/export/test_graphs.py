"""The exported graphs: parity with the reference, TensorRT's rules for Q/DQ, ORT's fusion."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper

from otter_export.parity import run_case

GOLDEN = Path(__file__).parents[1] / "golden"
FAMILIES = ("mpt", "mpt1b", "llama")
GRAPHS = ("vision", "resampler", "decoder")
TinyBundle = Callable[..., Path]


def loaded(path: Path) -> onnx.ModelProto:
    return onnx.load(str(path))


@pytest.mark.parametrize("case", sorted(path.parent.name for path in GOLDEN.glob("*/meta.json")))
def test_equals_the_reference(case: str) -> None:
    verdict = run_case(GOLDEN / case)
    assert verdict["max_abs_logit_diff"] < 1e-4
    assert verdict["ids_equal_seeing"]
    assert verdict["ids_equal_blind"]


@pytest.mark.parametrize("name", GRAPHS)
@pytest.mark.parametrize("family", FAMILIES)
def test_quantization_follows_tensorrts_rules(
    tiny_bundle: TinyBundle, family: str, name: str
) -> None:
    model = loaded(tiny_bundle(family, "int8") / f"{name}.onnx")
    constants = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    made_by = {output: node for node in model.graph.node for output in node.output}
    assert (model.ir_version, model.opset_import[0].version) == (10, 20)
    for node in model.graph.node:
        if node.op_type not in ("QuantizeLinear", "DequantizeLinear"):
            continue
        scale, zero = constants[node.input[1]], constants[node.input[2]]
        assert (scale > 0).all()
        assert zero.dtype == np.int8
        assert zero.shape == scale.shape
        assert not zero.any()
        data = constants.get(node.input[0])
        if data is None:  # an activation: one scale, straight from Q to DQ
            assert scale.shape == ()
            if node.op_type == "DequantizeLinear":
                assert made_by[node.input[0]].op_type == "QuantizeLinear"
        else:  # a weight: a scale per output channel, its axis written
            assert [a.i for a in node.attribute if a.name == "axis"] == [1]
            assert scale.shape == data.shape[1:]
            assert data.dtype == np.int8
            assert data.min() >= -127


@pytest.mark.parametrize("name", GRAPHS)
def test_onnxruntime_runs_every_linear_layer_in_integers(
    tiny_bundle: TinyBundle, tmp_path: Path, name: str
) -> None:
    path = tiny_bundle("mpt", "int8") / f"{name}.onnx"
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    before = Counter(node.op_type for node in loaded(path).graph.node)
    after = Counter(
        node.op_type
        for node in onnx.load(str(tmp_path / "optimized.onnx"), load_external_data=False).graph.node
    )
    weights = before["DequantizeLinear"] - before["QuantizeLinear"]
    assert after["MatMulIntegerToFloat"] == weights > 3
    assert after["DequantizeLinear"] == 0


def test_the_head_runs_only_on_the_rows_asked_for(tiny_bundle: TinyBundle) -> None:
    model = loaded(tiny_bundle("mpt", "fp32") / "decoder.onnx")
    inferred = onnx.shape_inference.infer_shapes(model)
    shapes = {
        value.name: [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in [*inferred.graph.value_info, *inferred.graph.output]
    }
    vocabulary = [shape for shape in shapes.values() if shape and shape[-1] == 64]
    assert ["rows", 64] in vocabulary
    assert not [shape for shape in vocabulary if shape[0] == "tokens"]


def test_past_keys_and_values_are_never_joined_with_new_ones(tiny_bundle: TinyBundle) -> None:
    model = loaded(tiny_bundle("mpt", "fp32") / "decoder.onnx")
    names = [value.name for value in model.graph.input]
    past = {name for name in names if name.startswith(("past_k", "past_v"))}
    readers = {node.op_type for node in model.graph.node if past & set(node.input)} - {"Shape"}
    assert readers <= {"MatMul", "Transpose"}
    for node in model.graph.node:
        if node.op_type == "Concat":
            assert not past & set(node.input)
