"""Int4: how codes are packed and rounded, what the graphs say, and that a bundle of them runs."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from ml_dtypes import int4
from onnx import numpy_helper

from otter_export.builder import Builder
from otter_export.bundle_writer import Export
from otter_export.layers import Layers, Norm
from otter_export.precision import Floats, Fp32, Observed, Precision, rounding
from otter_export.precision.int4 import MOMENTS, Int4, block_size, span_size
from otter_export.precision.int8 import Int8
from otter_export.precision.seen import LARGEST
from otter_export.sample import random_samples
from otter_export.settings import Settings
from otter_export.weight_file import WeightFile, packed
from otter_model.checkpoint import Checkpoint
from otter_model.config import OtterConfig
from otter_model.random_weights import RandomTensors
from otter_model.tiny import tiny_config
from otter_runtime.bundle import Bundle
from otter_runtime.golden import cosine
from otter_runtime.onnx_engine import FLOAT_ACTIVATIONS, OnnxEngine, open_engine

RNG = np.random.default_rng(0)
IN, OUT = 192, 24  # three blocks of 64
# Channels that move together, as a network's do: errors can be made up for.
MIXED: Floats = RNG.standard_normal((400, 40), np.float32) @ RNG.standard_normal((40, IN), "f4")
MATRIX: Floats = RNG.standard_normal((IN, OUT), np.float32)


def moments(x: Floats, span: int = IN) -> Floats:
    rows = x.reshape(len(x), -1, span)
    summed: Floats = np.einsum("rsi,rsj->sij", rows, rows)
    return summed


def dequantized(codes: np.ndarray[tuple[int, ...], np.dtype[int4]], scales: Floats) -> Floats:
    return codes.astype(np.float32) * np.repeat(scales, len(codes) // len(scales), axis=0)


def run(precision: Precision, norm: Norm, matrix: Floats = MATRIX) -> dict[str, Floats]:
    b = Builder("one", opset=precision.opset)
    x = b.input("x", "float32", ["n", IN])
    y = Layers(b, precision).normed_linear(x, "layer", norm, matrix)
    b.output(y, "y", "float32", ["n", matrix.shape[1]])
    for (statistic, _), value in getattr(precision, "outputs", {}).items():
        b.output(value, statistic.name, "float32", statistic.shape)
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry(*FLOAT_ACTIVATIONS)
    session = onnxruntime.InferenceSession(b.model().SerializeToString(), options)
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {"x": MIXED}), strict=True))


def calibrated(norm: Norm, matrix: Floats = MATRIX, **options: object) -> Int4:
    seen = run(Observed((LARGEST, MOMENTS)), norm, matrix)
    int8 = Int8({"layer": seen["largest"]})
    return Int4({"layer": seen["moments"]}, int8, **options)  # type: ignore[arg-type]


def plain_norm() -> Norm:
    return Norm(np.ones(IN, np.float32), np.zeros(IN, np.float32))


def test_codes_are_packed_as_onnx_packs_them(tmp_path: Path) -> None:
    codes = RNG.integers(-8, 8, (6, 10)).astype(int4)
    assert packed(codes).tobytes() == numpy_helper.from_array(codes).raw_data
    with WeightFile(tmp_path / "weights.bin") as file:
        file.append("before", np.ones(3, np.float32))
        tensor = file.append("codes", codes)
    read = numpy_helper.to_array(tensor, str(tmp_path))
    np.testing.assert_array_equal(read.astype(np.int8), codes.astype(np.int8))


@pytest.mark.parametrize(
    ("channels", "block", "span"),
    [(192, 64, 192), (768, 128, 384), (4096, 128, 512), (11008, 128, 256), (48, None, 1)],
)
def test_blocks_and_spans_divide_the_channels(channels: int, block: int, span: int) -> None:
    assert block_size(channels) == block
    assert span_size(channels) == span
    assert channels % span == 0


@pytest.mark.parametrize("span", [IN, 64])
def test_error_feedback_beats_rounding_to_the_nearest(span: int) -> None:
    seen = moments(MIXED, span)
    ours = dequantized(*rounding.rounded(MATRIX, seen, 64)) - MATRIX
    nearest = dequantized(*rounding.nearest(MATRIX, 64)) - MATRIX
    whole = moments(MIXED)  # what the layer really gets wrong
    share = rounding.output_error(ours, whole) / rounding.output_error(nearest, whole)
    assert share < (0.2 if span == IN else 0.7)


def test_a_searched_scale_is_never_worse_than_the_widest() -> None:
    weight = rounding.diagonal(moments(MIXED))
    matrix = MATRIX**3  # long tails: worth clipping
    blocks, weights = matrix.reshape(-1, 64, OUT), weight.reshape(-1, 64)

    def error(scales: Floats) -> Floats:
        codes = np.clip(np.rint(blocks / scales[:, None]), -8, 7)
        off = codes * scales[:, None] - blocks
        weighted: Floats = np.einsum("bi,bio->bo", weights, off**2)
        return weighted

    searched = error(rounding.searched_scales(matrix, weight, 64))
    widest = error(rounding.widest_scales(blocks))
    assert (searched <= widest * 1.0001).all()
    assert searched.sum() < 0.9 * widest.sum()


def test_channels_that_calibration_never_saw_are_rounded_to_the_nearest() -> None:
    seen = np.zeros((1, IN, IN), np.float32)
    codes, scales = rounding.rounded(MATRIX, seen, 64)
    assert (np.abs(dequantized(codes, scales) - MATRIX) <= 0.5001 * scales.repeat(64, 0)).all()


def test_a_matrix_of_zeros_stays_zero() -> None:
    codes, scales = rounding.rounded(np.zeros_like(MATRIX), moments(MIXED), 64)
    assert not codes.astype(np.int8).any()
    assert (scales > 0).all()


def test_the_graph_computes_what_codes_and_scales_say() -> None:
    precision = calibrated(plain_norm(), strength=0)
    codes, scales = rounding.rounded(MATRIX, precision.moments["layer"], 64)
    x = run(Fp32(), plain_norm(), np.eye(IN, dtype=np.float32))["y"]
    expected = x @ dequantized(codes, scales)
    np.testing.assert_allclose(run(precision, plain_norm())["y"], expected, rtol=1e-3, atol=1e-3)


def test_outliers_break_plain_int4_and_ours_does_not_notice_them() -> None:
    outlying = plain_norm()
    outlying.scale[::48] = 60  # the next layer's weights undo it, as in a trained network
    matrix = MATRIX / outlying.scale[:, None]
    truth = run(Fp32(), outlying, matrix)["y"]
    plain = run(calibrated(outlying, matrix, strength=0, feedback=False), outlying, matrix)["y"]
    ours = run(calibrated(outlying, matrix), outlying, matrix)["y"]
    without = run(calibrated(plain_norm()), plain_norm())["y"]
    assert cosine(truth, plain) < 0.99
    assert cosine(truth, ours) > 0.998
    np.testing.assert_allclose(ours, without, rtol=1e-2, atol=1e-2)


def wide_config() -> OtterConfig:
    """A tiny network whose decoder has whole blocks; its vision, 24 wide, has none."""
    tiny = tiny_config("mpt", max_frames=4)
    wide = replace(tiny.decoder, dim=128, heads=4, mlp_dim=256, cross_head_dim=32)
    return replace(tiny, decoder=wide)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    config = wide_config()
    samples = random_samples(config, 8, frames=3, length=20)
    settings = Settings(name="wide", capacities=(8, 16, 32))
    export = Export(Checkpoint(config, RandomTensors(config)), "int4", samples, settings, threads=1)
    return export.write(tmp_path_factory.mktemp("int4") / "bundle")


def test_a_bundle_is_int4_where_it_should_be_and_near_fp32(bundle: Bundle) -> None:
    graphs, stated = bundle.manifest.graphs, bundle.manifest.verification
    assert (graphs.vision.precision, graphs.resampler.precision) == ("int8", "int8")
    assert (graphs.decoder.precision, graphs.decoder.head) == ("int4", "int8")
    assert (graphs.vision.opset, graphs.decoder.opset) == (20, 21)
    assert stated is not None
    assert stated["logits_cosine"] > 0.98


def test_blocks_follow_tensorrts_rules(bundle: Bundle) -> None:
    model = onnx.load(str(bundle.path / "decoder.onnx"))
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    blocked = [node for node in model.graph.node if len(node.input) == 2 and is_blocked(node)]
    assert len(blocked) == 4 * 4 + 2 * 4  # every linear layer but the head
    for node in blocked:
        given = {a.name: a.i for a in node.attribute}
        weight, scale = (tensors[name] for name in node.input)
        assert weight.data_type == onnx.TensorProto.INT4
        assert given["axis"] == 0
        assert given["block_size"] in (64, 128)
        assert weight.dims[0] == scale.dims[0] * given["block_size"]
        assert weight.dims[1] == scale.dims[1]
        assert weight.dims[1] % 2 == 0
        assert (numpy_helper.to_array(scale) > 0).all()


def is_blocked(node: onnx.NodeProto) -> bool:
    return node.op_type == "DequantizeLinear" and any(
        a.name == "block_size" for a in node.attribute
    )


def test_onnxruntime_runs_every_block_as_it_is(bundle: Bundle, tmp_path: Path) -> None:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    path = str(bundle.path / "decoder.onnx")
    onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    optimized = onnx.load(str(tmp_path / "optimized.onnx"), load_external_data=False)
    kinds = Counter(node.op_type for node in optimized.graph.node)
    assert kinds["MatMulNBits"] == 4 * 4 + 2 * 4
    assert kinds["DequantizeLinear"] == 0


def test_chunks_change_nothing(bundle: Bundle) -> None:
    engine = open_engine(bundle, threads=1)
    assert isinstance(engine, OnnxEngine)
    pixels = RNG.standard_normal((3, 3, 16, 16), np.float32)
    media = [engine.resample(engine.encode(pixels))]
    ids = [61, *RNG.integers(0, 60, 29).tolist()]

    def logits(chunk: int) -> Floats:
        cache = engine.new_cache()
        parts = (ids[at : at + chunk] for at in range(0, len(ids), chunk))
        rows = [engine.logits(cache, part, [1] * len(part), media).copy() for part in parts]
        return np.concatenate(rows)

    whole = logits(30)
    for chunk in (1, 7, 16):
        np.testing.assert_allclose(logits(chunk), whole, atol=0.02 * whole.std())
