"""Quantization's arithmetic, and that moving outliers changes nothing in fp32."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from otter_export.builder import Builder
from otter_export.layers import Layers, Norm
from otter_export.precision import Floats, Fp32, Int8, Observed, Precision
from otter_export.precision.int8 import migration, quantized
from otter_runtime.bundle import Bundle
from otter_runtime.golden import cosine, load_golden
from otter_runtime.onnx_engine import open_engine

RNG = np.random.default_rng(0)
X: Floats = RNG.standard_normal((40, 32), np.float32)
MATRIX: Floats = RNG.standard_normal((32, 24), np.float32) * np.linspace(0.01, 3, 24, dtype="f4")
BIAS: Floats = RNG.standard_normal(24, np.float32)


def outlying() -> Norm:
    """A norm of which one channel in sixteen is 60 times as large as the others."""
    scale = np.ones(32, np.float32)
    scale[::16] = 60
    return Norm(scale, np.zeros(32, np.float32))


def run(precision: Precision, norm: Norm, matrix: Floats = MATRIX) -> dict[str, Floats]:
    b = Builder("one")
    x = b.input("x", "float32", ["n", 32])
    y = Layers(b, precision).normed_linear(x, "layer", norm, matrix, BIAS)
    b.output(y, "y", "float32", ["n", matrix.shape[1]])
    for (statistic, name), value in getattr(precision, "outputs", {}).items():
        b.output(value, f"{statistic.name} of {name}", "float32", statistic.shape)
    session = onnxruntime.InferenceSession(b.model().SerializeToString())
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {"x": X}), strict=True))


def ranges(norm: Norm, matrix: Floats = MATRIX) -> dict[str, Floats]:
    return {"layer": run(Observed(), norm, matrix)["largest of layer"]}


def test_a_weight_is_never_further_than_half_a_step_off() -> None:
    weight, scales = quantized(MATRIX)
    assert weight.dtype == np.int8
    np.testing.assert_array_equal(np.abs(weight).max(axis=0), 127)
    assert (np.abs(weight * scales - MATRIX) <= scales * 0.5001).all()


def test_a_channel_of_zeros_stays_zero() -> None:
    weight, scales = quantized(np.zeros((4, 3), np.float32))
    assert not weight.any()
    assert (scales > 0).all()


def test_observation_returns_the_largest_magnitude_per_channel() -> None:
    expected = np.abs((X - X.mean(1, keepdims=True)) / X.std(1, keepdims=True)).max(axis=0)
    plain = Norm(np.ones(32, np.float32))
    np.testing.assert_allclose(ranges(plain)["layer"], expected, rtol=1e-3)


def test_int8_comes_near_fp32() -> None:
    plain = Norm(np.ones(32, np.float32))
    truth, got = run(Fp32(), plain)["y"], run(Int8(ranges(plain)), plain)["y"]
    assert cosine(truth, got) > 0.9995


def test_migration_changes_nothing_in_fp32() -> None:
    norm = outlying()
    divide = migration(ranges(norm)["layer"], MATRIX, 0.5)
    moved = run(Fp32(), norm.divided(divide), MATRIX * divide[:, None])["y"]
    np.testing.assert_allclose(moved, run(Fp32(), norm)["y"], rtol=1e-4, atol=1e-4)


def test_outliers_break_plain_int8_and_migration_holds() -> None:
    # The next layer's weights undo the outliers, as in a trained network.
    norm, matrix = outlying(), MATRIX / outlying().scale[:, None]
    seen, truth = ranges(norm, matrix), run(Fp32(), norm, matrix)["y"]
    plain = cosine(truth, run(Int8(seen, strength=0), norm, matrix)["y"])
    moved = cosine(truth, run(Int8(seen), norm, matrix)["y"])
    assert plain < 0.98
    assert moved > 0.9999


def test_rows_do_not_depend_on_each_other() -> None:
    plain = Norm(np.ones(32, np.float32))
    b = Builder("one")
    x = b.input("x", "float32", ["n", 32])
    b.output(
        Layers(b, Int8(ranges(plain))).normed_linear(x, "layer", plain, MATRIX),
        "y",
        "float32",
        ["n", 24],
    )
    session = onnxruntime.InferenceSession(b.model().SerializeToString())
    whole = session.run(None, {"x": X})[0]
    singly = np.concatenate([session.run(None, {"x": row[None]})[0] for row in X])
    np.testing.assert_array_equal(whole, singly)


def test_a_layer_without_calibration_is_named() -> None:
    with pytest.raises(KeyError, match="layer"):
        run(Int8({}), Norm(np.ones(32, np.float32)))


@pytest.mark.parametrize("family", ["mpt", "llama"])
def test_static_int8_does_not_depend_on_chunks_and_dynamic_does(
    tiny_bundle: Callable[..., Path], family: str
) -> None:
    far = {name: chunk_difference(tiny_bundle(family, name)) for name in ("int8", "int8-dynamic")}
    assert far["int8"] < 1e-4
    assert far["int8-dynamic"] > 1e-3


def chunk_difference(folder: Path) -> float:
    """How far a prompt's last logits move when it is prefilled token by token, in their sigma."""
    bundle = Bundle.load(folder)
    golden, engine = load_golden(bundle), open_engine(bundle, threads=1)
    medium = [engine.resample(golden.features[0])]
    ids, index = golden.prompts[0], golden.media_index[0]
    whole = engine.prefill(engine.new_cache(), ids, index, medium).copy()
    cache = engine.new_cache()
    for token, seen in zip(ids, index, strict=True):
        singly = engine.step(cache, token, seen, medium)
    return float(np.abs(singly - whole).max() / whole.std())


def test_dynamic_int8_is_one_operator_and_not_for_tensorrt(
    tiny_bundle: Callable[..., Path], tmp_path: Path
) -> None:
    bundle = Bundle.load(tiny_bundle("mpt", "int8-dynamic"))
    assert not bundle.manifest.graphs.decoder.tensorrt
    assert Bundle.load(tiny_bundle("mpt", "int8")).manifest.graphs.decoder.tensorrt
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    path = str(bundle.path / "decoder.onnx")
    onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    nodes = onnx.load(str(tmp_path / "optimized.onnx"), load_external_data=False).graph.node
    made = Counter(node.op_type for node in nodes)
    # Both gated and plain layers: q, out, up, down; qkv, out, up, down; and the head.
    assert made["DynamicQuantizeMatMul"] == 2 * 4 + 4 * 4 + 1
    assert made["MatMulInteger"] == 0
