"""The ONNX Runtime engine: caches change no answer, media are seen, limits are refused."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest

from otter_runtime.bundle import Bundle
from otter_runtime.engine import Floats, Media
from otter_runtime.errors import BundleError, EngineError, PromptTooLong, TooManyImages, UserError
from otter_runtime.golden import check, load_golden, require
from otter_runtime.onnx_engine import OnnxEngine, open_engine

FAMILIES = ("mpt", "mpt1b", "llama")
LENGTH = 40
TinyBundle = Callable[..., Path]


def engine(path: Path) -> OnnxEngine:
    return OnnxEngine(Bundle.load(path), threads=1, provider="cpu")


def media(runner: OnnxEngine, count: int) -> list[Media]:
    random = np.random.default_rng(count)
    pixels = random.standard_normal((count, 3, 3, 16, 16), np.float32)
    return [runner.resample(runner.encode(frames)) for frames in pixels]


def prompt() -> tuple[list[int], list[int]]:
    """Forty ids of which some see nothing, some the first medium, some the second."""
    random = np.random.default_rng(3)
    return random.integers(0, 60, LENGTH).tolist(), [0] * 5 + [1] * 15 + [2] * 20


def whole(runner: OnnxEngine, shown: list[Media]) -> Floats:
    return runner.logits(runner.new_cache(), *prompt(), shown)


@pytest.mark.parametrize("precision", ["fp32", "int8"])
@pytest.mark.parametrize("family", FAMILIES)
def test_any_chunking_gives_the_same_logits(
    tiny_bundle: TinyBundle, family: str, precision: str
) -> None:
    runner = engine(tiny_bundle(family, precision))
    shown = media(runner, 2)
    ids, index = prompt()
    expected = whole(runner, shown)
    # Rows do not depend on each other, but the order of fp32 sums in attention does on shapes; in
    # int8 such a difference can move a rounding by one step, a thousandth of a logit's deviation.
    tolerance = 2e-5 if precision == "fp32" else 0.05
    for seed in range(4):
        cuts = np.sort(np.random.default_rng(seed).integers(1, LENGTH, 6))
        cache, rows = runner.new_cache(), []
        for begin, end in zip([0, *cuts], [*cuts, LENGTH], strict=True):
            if begin < end:
                part = runner.logits(cache, ids[begin:end], index[begin:end], shown)
                rows.append(part)
        assert cache.length == LENGTH
        np.testing.assert_allclose(np.concatenate(rows), expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize("family", FAMILIES)
def test_token_by_token_equals_the_whole(tiny_bundle: TinyBundle, family: str) -> None:
    runner = engine(tiny_bundle(family, "fp32"))
    shown = media(runner, 2)
    cache = runner.new_cache()
    rows = [
        runner.step(cache, token, seen, shown).copy() for token, seen in zip(*prompt(), strict=True)
    ]
    np.testing.assert_allclose(np.stack(rows), whole(runner, shown), rtol=0, atol=2e-5)


def test_a_truncated_cache_goes_on_as_if_nothing_had_been_there(tiny_bundle: TinyBundle) -> None:
    runner = engine(tiny_bundle("mpt", "fp32"))
    shown = media(runner, 2)
    ids, index = prompt()
    cache = runner.new_cache()
    runner.prefill(cache, ids[:10] + [59] * 20, index[:30], shown)
    cache.truncate(10)
    last = runner.prefill(cache, ids[10:], index[10:], shown)
    np.testing.assert_allclose(last, whole(runner, shown)[-1], rtol=0, atol=2e-5)


def test_two_caches_do_not_disturb_each_other(tiny_bundle: TinyBundle) -> None:
    runner = engine(tiny_bundle("mpt", "fp32"))
    shown = media(runner, 2)
    ids, index = prompt()
    expected = whole(runner, shown)
    one, other = runner.new_cache(), runner.new_cache()
    for at in range(LENGTH):
        mine = runner.step(one, ids[at], index[at], shown).copy()
        runner.step(other, ids[-1 - at], 1, shown[:1])
        np.testing.assert_allclose(mine, expected[at], rtol=0, atol=2e-5)


def test_a_token_sees_its_own_medium_and_no_other(tiny_bundle: TinyBundle) -> None:
    runner = engine(tiny_bundle("mpt", "fp32"))
    first, second = media(runner, 2)
    ids, index = prompt()
    shown = whole(runner, [first, second])
    without_second = runner.logits(runner.new_cache(), ids[:20], index[:20], [first])
    np.testing.assert_allclose(without_second, shown[:20], rtol=0, atol=2e-5)
    swapped = whole(runner, [second, first])
    np.testing.assert_array_equal(swapped[:5], shown[:5])  # these see nothing
    assert np.abs(swapped[5:] - shown[5:]).max(axis=1).min() > 1e-3


def test_text_alone_needs_no_medium(tiny_bundle: TinyBundle) -> None:
    runner = engine(tiny_bundle("mpt", "fp32"))
    ids, _ = prompt()
    alone = runner.logits(runner.new_cache(), ids, [0] * LENGTH, [])
    beside = runner.logits(runner.new_cache(), ids, [0] * LENGTH, media(runner, 1))
    np.testing.assert_array_equal(alone, beside)


def test_features_of_a_frame_do_not_depend_on_its_batch(tiny_bundle: TinyBundle) -> None:
    runner = engine(tiny_bundle("mpt", "int8"))
    pixels = np.random.default_rng(1).standard_normal((3, 3, 16, 16), np.float32)
    single = np.concatenate([runner.encode(frame[None]) for frame in pixels])
    np.testing.assert_allclose(runner.encode(pixels), single, rtol=0, atol=1e-5)


def test_features_are_the_callers_to_keep(tiny_bundle: TinyBundle) -> None:
    runner = engine(tiny_bundle("mpt", "int8"))
    frames = np.random.default_rng(3).standard_normal((2, 1, 3, 16, 16), np.float32)
    first = runner.encode(frames[0])
    kept = first.copy()
    runner.resample(np.concatenate([first, runner.encode(frames[1])]))
    np.testing.assert_array_equal(first, kept)


def test_what_does_not_fit_is_refused(tiny_bundle: TinyBundle) -> None:
    runner = engine(tiny_bundle("mpt", "fp32"))
    shown = media(runner, 1)
    cache = runner.new_cache()
    with pytest.raises(TooManyImages, match="2 <image> tokens but only 1"):
        runner.prefill(cache, [1, 2], [1, 2], shown)
    with pytest.raises(PromptTooLong, match="65 tokens but the model holds 64"):
        runner.prefill(cache, [1] * 65, [1] * 65, shown)
    with pytest.raises(EngineError, match="1 token ids with 2 media indices"):
        runner.prefill(cache, [1], [1, 1], shown)
    with pytest.raises(EngineError, match="at least one"):
        runner.prefill(cache, [], [], shown)
    with pytest.raises(EngineError, match="token ids are 0 to 63, got 1 to 64"):
        runner.prefill(cache, [1, 64], [1, 1], shown)
    assert cache.length == 0
    with pytest.raises(EngineError, match="holds 0 tokens"):
        cache.truncate(1)
    with pytest.raises(EngineError, match="pixels should have shape"):
        runner.encode(np.zeros((1, 3, 8, 8), np.float32))
    with pytest.raises(UserError, match="at most 4 frames"):
        runner.resample(runner.encode(np.zeros((5, 3, 16, 16), np.float32)))


def test_a_graph_that_onnxruntime_does_not_take_is_one_sentence(
    tiny_bundle: TinyBundle, tmp_path: Path
) -> None:
    bundle = Bundle.load(shutil.copytree(tiny_bundle("mpt", "int8"), tmp_path / "b"))
    (bundle.path / "decoder.onnx").write_bytes((bundle.path / "decoder.onnx").read_bytes()[:999])
    with pytest.raises(BundleError, match=r"decoder\.onnx cannot be loaded by onnxruntime 1\."):
        open_engine(bundle)


def test_an_unknown_or_missing_provider_is_a_sentence(tiny_bundle: TinyBundle) -> None:
    bundle = Bundle.load(tiny_bundle("mpt", "fp32"))
    with pytest.raises(UserError, match="is not one of cpu, cuda, tensorrt"):
        open_engine(bundle, provider="npu")


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_the_golden_answers_hold_and_a_wrong_engine_does_not_pass(
    tiny_bundle: TinyBundle, precision: str
) -> None:
    bundle = Bundle.load(tiny_bundle("mpt", precision))
    runner, golden, manifest = engine(bundle.path), load_golden(bundle), bundle.manifest
    figures = check(runner, golden, manifest.decoding, manifest.tokens)
    require(figures, manifest.verification)
    assert figures.logits_cosine > (0.999999 if precision == "fp32" else 0.98)
    other = engine(tiny_bundle("mpt1b", precision))
    with pytest.raises(BundleError, match="logits_cosine"):
        require(check(other, golden, manifest.decoding, manifest.tokens), manifest.verification)
    with pytest.raises(BundleError, match="golden answers are equal"):
        require(msgspec.structs.replace(figures, answers_equal=0), manifest.verification)


def test_it_says_what_it_is(tiny_bundle: TinyBundle) -> None:
    told = engine(tiny_bundle("mpt", "int8")).describe()
    assert told["backend"] == "onnxruntime"
    assert set(told["precision"].values()) == {"int8"}
