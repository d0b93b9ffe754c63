"""fp16 graphs: typed as TensorRT's strong typing wants, and safe where half would overflow.

ONNX Runtime's CPU provider computes fp16 nodes in float32, so it cannot show an overflow; onnx's
own evaluator computes them in half, as a GPU does.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, numpy_helper
from onnx.reference import ReferenceEvaluator

from otter_export.graphs import graph_builders
from otter_export.half_builder import LIMIT
from otter_export.layers import Weights
from otter_export.precision import PEAKS, Choice, Floats, Seen
from otter_export.reference import Reference
from otter_export.sample import random_samples
from otter_model.checkpoint import Checkpoint
from otter_model.tiny import tiny_checkpoint
from otter_runtime.bundle import Bundle
from otter_runtime.golden import cosine, load_golden

TinyBundle = Callable[..., Path]
SAMPLES = random_samples(tiny_checkpoint("mpt").config, 2, frames=1, length=16)
WIDE = "vision_encoder.vision_model.encoder.layers.0.mlp"


class Scaled(dict[str, torch.Tensor]):
    """A checkpoint's tensors, of which some are multiplied."""

    def __init__(self, checkpoint: Checkpoint, by: dict[str, float]) -> None:
        super().__init__(checkpoint.tensors)
        self.update({name: self[name] * factor for name, factor in by.items()})


def seen_by(checkpoint: Checkpoint, weights: Weights) -> dict[str, dict[str, Any]]:
    wants = Choice.all("fp16").wants()
    reference = Reference(checkpoint.config, weights, lambda *_: None, 1, wants)
    reference.run(SAMPLES)
    return reference.seen


def vision(weights: Weights, checkpoint: Checkpoint, choice: str, seen: Seen) -> onnx.ModelProto:
    parts = Choice.parse(choice).make(seen)
    b = parts["vision"].builder("vision", None, 20)
    graph_builders(checkpoint.config, weights)["vision"](b, parts)
    return b.model()


def evaluated(model: onnx.ModelProto) -> Floats:
    with np.errstate(all="ignore"):
        features = list(ReferenceEvaluator(model).run(None, {"pixels": SAMPLES[0].pixels}))
    result: Floats = np.asarray(features[0], np.float32)
    return result


def test_an_overflow_that_calibration_saw_stays_in_float32() -> None:
    checkpoint = tiny_checkpoint("mpt")
    # The first product is far out of half's range, the second brings it back.
    by = {f"{WIDE}.fc1.weight": 3e4, f"{WIDE}.fc1.bias": 3e4, f"{WIDE}.fc2.weight": 1 / 3e4}
    weights = Weights(Scaled(checkpoint, by))
    seen = seen_by(checkpoint, weights)
    truth = evaluated(vision(weights, checkpoint, "fp32", seen))
    made = vision(weights, checkpoint, "fp16", seen)
    assert cosine(evaluated(made), truth) > 0.9999
    told = json.loads(made.metadata_props[0].value)["out_of_range"]
    assert {node.rsplit("/", 2)[1] for node in told} >= {"vision.0.fc1", "vision.0.fc2"}
    small = {node: np.ones((), np.float32) for node in seen["peaks"]}
    blind = vision(weights, checkpoint, "fp16", {**seen, "peaks": small})
    assert not np.isfinite(evaluated(blind)).all()


def test_half_is_near_fp32_where_nothing_overflows() -> None:
    checkpoint = tiny_checkpoint("mpt")
    weights = Weights(checkpoint.tensors)
    seen = seen_by(checkpoint, weights)
    truth = evaluated(vision(weights, checkpoint, "fp32", seen))
    half = evaluated(vision(weights, checkpoint, "fp16", seen))
    assert cosine(half, truth) > 0.99999
    assert not np.array_equal(half, truth)


def test_what_calibration_sees_of_a_node_is_its_largest_magnitude() -> None:
    checkpoint = tiny_checkpoint("mpt")
    seen = seen_by(checkpoint, Weights(checkpoint.tensors))[PEAKS.name]
    assert {f"vision.{i}/softmax" for i in range(2)} <= set(seen)
    assert all(0 < seen[f"vision.{i}/softmax"] <= 1 for i in range(2))
    assert "decoder.head/matmul" in seen
    products = [value for node, value in seen.items() if node.endswith("/matmul")]
    assert 0 < max(products) < LIMIT


@pytest.mark.parametrize("family", ["mpt", "mpt1b", "llama"])
def test_types_are_strong_and_sums_are_single(tiny_bundle: TinyBundle, family: str) -> None:
    folder = tiny_bundle(family, "fp16")
    for name in ("vision", "resampler", "decoder"):
        model = onnx.shape_inference.infer_shapes(
            onnx.load(str(folder / f"{name}.onnx")), check_type=True, strict_mode=True
        )
        types = types_of(model)
        linear = [n for n in model.graph.node if n.op_type == "MatMul"]
        half = [n for n in linear if types[n.input[1]] == TensorProto.FLOAT16]
        assert len(half) > len(linear) / 2
        for node in model.graph.node:
            kinds = {types[v] for v in node.input if v in types} & FLOATS
            if node.op_type in ("LayerNormalization", "Softmax", "ReduceMean", "Pow"):
                assert kinds == {TensorProto.FLOAT}
            if node.op_type in ("MatMul", "Add", "Mul", "Concat"):
                assert len(kinds) <= 1, node.name
        for value in [*model.graph.input, *model.graph.output]:
            assert value.type.tensor_type.elem_type != TensorProto.FLOAT16


@pytest.mark.parametrize("family", ["mpt", "mpt1b", "llama"])
def test_a_bundle_computed_in_half_is_near_fp32(tiny_bundle: TinyBundle, family: str) -> None:
    bundle = Bundle.load(tiny_bundle(family, "fp16"))
    golden, d = load_golden(bundle), bundle.manifest.dims.decoder

    def run(name: str, output: str, **feed: Any) -> Floats:
        with np.errstate(all="ignore"):
            evaluator = ReferenceEvaluator(onnx.load(str(bundle.path / f"{name}.onnx")))
            (result,) = list(evaluator.run([output], feed))
        return np.asarray(result, np.float32)

    features, ids = golden.features[0], golden.prompts[0]
    assert cosine(run("vision", "features", pixels=golden.pixels[0]), features) > 0.99999
    assert cosine(run("resampler", "media_k", features=features), golden.media_k[0]) > 0.99999
    empty = np.zeros((d.heads, 1, d.head_dim), np.float32)
    logits = run(
        "decoder",
        "logits",
        input_ids=np.array(ids),
        positions=np.arange(len(ids)),
        media_index=np.array(golden.media_index[0]),
        logit_positions=np.array([len(ids) - 1]),
        media_k=golden.media_k[0],
        media_v=golden.media_v[0],
        past_len=np.zeros(1, np.int64),
        **{f"past_{kind}.{i}": empty for i in range(d.layers) for kind in "kv"},
    )
    assert cosine(logits[0], golden.logits[0]) > 0.9999


FLOATS = {TensorProto.FLOAT, TensorProto.FLOAT16}


def types_of(model: onnx.ModelProto) -> dict[str, int]:
    graph = model.graph
    values = [*graph.value_info, *graph.input, *graph.output]
    known = {value.name: value.type.tensor_type.elem_type for value in values}
    return known | {tensor.name: tensor.data_type for tensor in graph.initializer}


def test_large_weights_are_stored_in_half_once(tiny_bundle: TinyBundle) -> None:
    model = onnx.load(str(tiny_bundle("llama", "fp16") / "decoder.onnx"))
    large = [t for t in model.graph.initializer if t.name.endswith(".weight") and len(t.dims) == 2]
    assert large
    assert {numpy_helper.to_array(t).dtype for t in large} == {np.dtype(np.float16)}


@pytest.mark.parametrize("choice", ["fp16", "decoder=fp16,head=int8", "head=fp16"])
def test_onnxruntime_runs_it_near_fp32(tiny_bundle: TinyBundle, choice: str) -> None:
    manifest = Bundle.load(tiny_bundle("mpt1b", choice)).manifest
    assert manifest.verification["logits_cosine"] > (0.9999 if choice == "fp16" else 0.995)
    assert bool(manifest.graphs.decoder.islands) == (choice != "head=fp16")
    if choice == "fp16":
        islands = manifest.graphs.vision.islands
        assert islands["nodes"]["Softmax"] == 2
        assert islands["out_of_range"] == {}
