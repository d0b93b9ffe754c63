"""TensorRT's builder and native engine, driven through stand-ins that compute (fake_tensorrt)."""

from __future__ import annotations

import ast
import gc
import importlib.util
import inspect
import json
import shutil
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from tests.runtime import device_checks
from tests.runtime.fake_cuda import Cuda
from tests.runtime.fake_tensorrt import Trt

from otter_runtime.bundle import Bundle
from otter_runtime.cli import main
from otter_runtime.engine import Engine, Floats, Media
from otter_runtime.errors import BundleError, PromptTooLong, TooManyImages, UserError
from otter_runtime.golden import check, load_golden
from otter_runtime.onnx_engine import NATIVE, OnnxEngine, open_engine
from otter_runtime.trt.builder import build
from otter_runtime.trt.engine import NativeEngine
from otter_runtime.trt.media_shelf import MEDIA_KEPT
from otter_runtime.trt.profiles import DECODED, MOST_MEDIA, free_profile, profile_index, profiles
from otter_runtime.trt.provider import cache_folder, provider_options

TinyBundle = Callable[..., Path]
PLAN_FOLDER = "orin-sm87-16mp-10.3.0-"


def silent(what: str, done: int, total: int) -> None:
    pass


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> Cuda:
    runtime = Cuda()
    bindings = types.ModuleType("cuda.bindings")
    bindings.runtime = runtime  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "cuda", types.ModuleType("cuda"))
    monkeypatch.setitem(sys.modules, "cuda.bindings", bindings)
    monkeypatch.setitem(sys.modules, "cuda.bindings.runtime", runtime)
    return runtime


@pytest.fixture
def trt(cuda: Cuda, monkeypatch: pytest.MonkeyPatch) -> Trt:
    module = Trt(cuda)
    monkeypatch.setitem(sys.modules, "tensorrt", module)
    return module


@pytest.fixture
def bundle(tiny_bundle: TinyBundle, tmp_path: Path) -> Bundle:
    """A bundle of one's own, for engines are built into it."""
    return Bundle.load(shutil.copytree(tiny_bundle("mpt", "int8"), tmp_path / "bundle"))


def media(engine: Engine, count: int) -> list[Media]:
    pixels = np.random.default_rng(5).standard_normal((count, 3, 3, 16, 16), np.float32)
    return [engine.resample(engine.encode(frames)) for frames in pixels]


def near(got: Floats, wanted: Floats, tolerance: float) -> None:
    np.testing.assert_allclose(got, wanted, atol=tolerance * float(wanted.std()))


@pytest.mark.parametrize(
    ("family", "precision", "tolerance"),
    [("mpt", "fp32", 1e-4), ("mpt1b", "int8", 0.05), ("llama", "int8", 0.05)],
)
def test_it_answers_as_onnx_runtime_does(
    trt: Trt, tiny_bundle: TinyBundle, tmp_path: Path, family: str, precision: str, tolerance: float
) -> None:
    own = Bundle.load(shutil.copytree(tiny_bundle(family, precision), tmp_path / "bundle"))
    build(own, silent)
    native, truth = open_engine(own, provider=NATIVE), OnnxEngine(own, 1, "cpu")
    shown = media(truth, 2)
    for mine, theirs in zip(media(native, 2), shown, strict=True):
        near(mine.k, theirs.k, tolerance)
        near(mine.v, theirs.v, tolerance)
    ids = np.random.default_rng(3).integers(0, 60, 14).tolist()
    index = [0] * 3 + [1] * 5 + [2] * 6
    a, b = native.new_cache(), truth.new_cache()
    # A prefill that makes the cache grow, steps that make it grow again, a step back, and on.
    near(native.prefill(a, ids, index, shown), truth.prefill(b, ids, index, shown), tolerance)
    for token in (7, 8, 9, 10):
        near(native.step(a, token, 2, shown), truth.step(b, token, 2, shown), tolerance)
    a.truncate(9)
    b.truncate(9)
    near(native.prefill(a, ids, index, shown), truth.prefill(b, ids, index, shown), tolerance)
    near(native.step(a, 3, 0, []), truth.step(b, 3, 0, []), tolerance)
    assert a.length == b.length == 24


def test_build_installs_what_answers_right(
    trt: Trt, bundle: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["build", str(bundle.path), "--workspace-mb", "64"]) == 0
    out, err = capsys.readouterr()
    assert "golden answers equal" in out
    assert "decoder: Building  2/2" in err
    folder = next((bundle.path / "engines").glob(PLAN_FOLDER + "*"))
    assert {path.name for path in folder.iterdir()} == {
        "engine.json",
        "vision.plan",
        "resampler.plan",
        "decoder.plan",
    }
    record = json.loads((folder / "engine.json").read_text())
    assert record["figures"]["logits_cosine"] > 0.98
    assert len(trt.built) == 3
    decoder = trt.built[-1]
    assert decoder["pools"] == {0: 64 << 20}
    assert len(decoder["profiles"]) == 2 * len(bundle.manifest.capacities)
    assert [plan["warm"] for plan in trt.built] == [False, True, True]  # one timing cache
    assert Bundle.load(bundle.path).model_hash == bundle.model_hash


def test_build_keeps_what_is_there_unless_told(
    trt: Trt, bundle: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    for words, plans in (([], 3), ([], 3), (["--rebuild"], 6)):
        assert main(["build", str(bundle.path), "--json", *words]) == 0
        assert json.loads(capsys.readouterr().out)["tensorrt"] == "10.3.0"
        assert len(trt.built) == plans
    assert trt.built[3]["warm"]


def test_timings_of_another_version_are_not_used(trt: Trt, bundle: Bundle) -> None:
    timings = bundle.path / "engines" / "orin-sm87-16mp-10.3.0.timing"
    timings.parent.mkdir()
    timings.write_bytes(b"timings of 9.9")
    build(bundle, silent)
    assert not trt.built[0]["warm"]
    assert timings.read_bytes() == b"timings of 10.3.0"


@pytest.mark.parametrize("wrong", ["vision", "resampler", "decoder"])
def test_a_wrong_engine_is_refused(trt: Trt, bundle: Bundle, wrong: str) -> None:
    trt.wrong = wrong
    with pytest.raises(BundleError, match=r"on this engine, the bundle (states|wants)"):
        build(bundle, silent)
    assert not list((bundle.path / "engines").glob(PLAN_FOLDER + "*"))
    trt.wrong = ""
    assert build(bundle, silent).folder.is_dir()


def test_a_wrong_engine_leaves_the_one_that_was_there(trt: Trt, bundle: Bundle) -> None:
    before = build(bundle, silent)
    trt.wrong = "decoder"
    with pytest.raises(BundleError):
        build(bundle, silent, rebuild=True)
    engine = open_engine(bundle, provider=NATIVE)
    figures = check(engine, load_golden(bundle), bundle.manifest.decoding, bundle.manifest.tokens)
    assert figures.answers_equal == before.record.figures["answers_equal"]


def test_a_step_replays_one_graph(trt: Trt, cuda: Cuda, bundle: Bundle) -> None:
    build(bundle, silent)
    engine = open_engine(bundle, provider=NATIVE)
    shown = media(engine, 1)
    cache = engine.new_cache()
    engine.prefill(cache, [1, 2], [1, 1], shown)
    engine.step(cache, 3, 1, shown)
    for token in range(4, 8):
        cuda.calls.clear()
        engine.step(cache, token, 1, shown)
        # Ids in, the graph, new K/V into the cache, logits out; nothing else is moved.
        assert cuda.calls == ["copy", "launch", "copy rows", "copy"]
    assert engine.describe()["cuda_graphs"] == 2


@pytest.mark.parametrize(
    "holds",
    [
        device_checks.golden_answers,
        device_checks.steps_as_onnx_runtime,
        device_checks.replay_as_enqueue,
    ],
)
def test_what_a_device_is_held_to(
    trt: Trt, bundle: Bundle, holds: Callable[[Bundle], None]
) -> None:
    build(bundle, silent)
    holds(bundle)


def test_windows_come_and_go_and_graphs_stay(trt: Trt, cuda: Cuda, bundle: Bundle) -> None:
    build(bundle, silent)
    engine = open_engine(bundle, provider=NATIVE)
    truth = OnnxEngine(bundle, 1, "cpu")
    cache = engine.new_cache()
    for number in range(3 * MEDIA_KEPT):
        pixels = np.random.default_rng(number).standard_normal((2, 3, 16, 16), np.float32)
        window = truth.resample(truth.encode(pixels))
        cache.truncate(0)
        engine.prefill(cache, [1, 2, 3], [1, 1, 1], [window])
        other = truth.new_cache()
        truth.prefill(other, [1, 2, 3], [1, 1, 1], [window])
        near(engine.step(cache, 4, 1, [window]), truth.step(other, 4, 1, [window]), 0.05)
    assert engine.describe()["cuda_graphs"] == 2 * MEDIA_KEPT
    before = len(cuda.device)
    engine.prefill(cache, [1], [1], [Media(window.k.copy(), window.v.copy())])
    assert len(cuda.device) == before


def test_two_prompts_at_a_time(trt: Trt, bundle: Bundle) -> None:
    build(bundle, silent)
    engine, truth = open_engine(bundle, provider=NATIVE), OnnxEngine(bundle, 1, "cpu")
    windows = media(truth, 2)
    pairs = [(engine.new_cache(), truth.new_cache(), [window]) for window in windows]
    for token in range(10):
        for a, b, shown in pairs:
            near(engine.step(a, token, 1, shown), truth.step(b, token, 1, shown), 0.05)


def test_sentences_are_scored_as_onnx_runtime_scores_them(trt: Trt, bundle: Bundle) -> None:
    build(bundle, silent)
    engine, truth = open_engine(bundle, provider=NATIVE), OnnxEngine(bundle, 1, "cpu")
    shown = media(truth, 1)
    rows = engine.logits(engine.new_cache(), [5, 6, 7], [0, 1, 1], shown)
    near(rows, truth.logits(truth.new_cache(), [5, 6, 7], [0, 1, 1], shown), 0.05)
    assert (engine.rows, truth.rows) == (1, 64)


def test_memory_is_given_back(trt: Trt, cuda: Cuda, bundle: Bundle) -> None:
    build(bundle, silent)
    engine = open_engine(bundle, provider=NATIVE)
    for _ in range(3):
        engine.prefill(engine.new_cache(), [1, 2], [0, 0], [])
    gc.collect()
    held = len(cuda.device)
    engine.prefill(engine.new_cache(), [1, 2], [0, 0], [])
    gc.collect()
    assert len(cuda.device) == held
    del engine
    gc.collect()
    assert not cuda.device
    assert not cuda.host


def test_limits_are_held(trt: Trt, bundle: Bundle) -> None:
    build(bundle, silent)
    engine = open_engine(bundle, provider=NATIVE)
    with pytest.raises(TooManyImages):
        engine.prefill(engine.new_cache(), [1], [1], [])
    with pytest.raises(PromptTooLong):
        engine.prefill(engine.new_cache(), [1] * 65, [0] * 65, [])
    shown = media(engine, 1) * (MOST_MEDIA + 1)
    with pytest.raises(UserError, match="fewer examples"):
        engine.prefill(engine.new_cache(), [1], [1], shown)
    with pytest.raises(UserError, match="at most 4 frames"):
        engine.resample(np.zeros((5, 4, 32), np.float32))


def test_without_an_engine_the_remedy_is_told(
    trt: Trt, bundle: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UserError, match="run: otter-edge build"):
        open_engine(bundle, provider=NATIVE)
    build(bundle, silent)
    trt.__version__ = "10.16.2"
    with pytest.raises(UserError, match=r"no engine for orin-sm87-16mp and TensorRT 10\.16\.2"):
        open_engine(bundle, provider=NATIVE)


def test_a_changed_plan_is_refused(trt: Trt, bundle: Bundle) -> None:
    folder = build(bundle, silent).folder
    (folder / "vision.plan").unlink()
    (folder / "vision.plan").write_bytes(b"{}")
    with pytest.raises(BundleError, match=r"vision\.plan does not match"):
        open_engine(bundle, provider=NATIVE)


def test_a_graph_that_is_refused_is_named(trt: Trt, bundle: Bundle) -> None:
    (bundle.path / "resampler.onnx").write_bytes(b"no graph")
    with pytest.raises(BundleError, match=r"does not take resampler\.onnx .*otter-edge lint"):
        build(bundle, silent)


@pytest.mark.parametrize("missing", ["tensorrt", "cuda.bindings", "gpu", "driver"])
def test_without_tensorrt_or_a_gpu_it_says_so(
    missing: str,
    trt: Trt,
    cuda: Cuda,
    bundle: Bundle,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def no_driver() -> Any:
        raise RuntimeError("Failed to dlopen libcuda.so.1")

    if missing == "gpu":
        cuda.devices = 0
    elif missing == "driver":
        monkeypatch.setattr(cuda, "cudaGetDeviceCount", no_driver)
    else:
        monkeypatch.setitem(sys.modules, missing, None)
    assert main(["build", str(bundle.path)]) == 2
    told = capsys.readouterr().err
    if missing in ("gpu", "driver"):
        assert "no NVIDIA GPU was found" in told
    elif missing == "tensorrt":
        assert "--system-site-packages" in told
    else:
        assert "cuda-bindings is not installed; run: pip install 'otter-edge[tensorrt]'" in told
    assert not (bundle.path / "engines").exists()


@pytest.mark.skipif(
    importlib.util.find_spec("tensorrt") is not None, reason="this machine has TensorRT"
)
def test_here_there_is_no_tensorrt(bundle: Bundle) -> None:
    with pytest.raises(UserError, match="tensorrt cannot be imported"):
        build(bundle, silent)


def test_profiles_are_static_but_for_the_media(bundle: Bundle) -> None:
    manifest = bundle.manifest
    decoder = profiles(manifest, "decoder")
    for capacity in manifest.capacities:
        for tokens in DECODED:
            profile = decoder[profile_index(manifest, capacity, tokens)]
            assert profile["capacity"] == (capacity,) * 3
            assert profile["tokens"] == (tokens,) * 3
    assert profiles(manifest, "resampler") == [{"frames": (1, 1, 4)}]
    for graph in ("vision", "resampler", "decoder"):
        for least, usual, most in free_profile(manifest, graph).values():
            assert least <= usual <= most


def test_options_of_onnx_runtimes_provider(bundle: Bundle) -> None:
    options = provider_options(bundle, "decoder")
    assert not {name for name in options if "fp16" in name or "int8" in name}
    latents = bundle.manifest.dims.resampler.latents
    shapes = dict(entry.split(":") for entry in options["trt_profile_max_shapes"].split(","))
    assert shapes["past_k.0"] == f"3x{bundle.manifest.capacities[-1]}x16"
    assert shapes["media_k"].split("x")[2] == str(latents * MOST_MEDIA)
    assert set(shapes) == {
        spec.name
        for spec in bundle.manifest.graphs.decoder.inputs
        if any(isinstance(d, str) for d in spec.shape)
    }
    assert not Path(options["trt_engine_cache_path"]).is_absolute()
    assert Path(options["trt_ep_context_file_path"]).parent == cache_folder(bundle)


@pytest.mark.parametrize("starts", [True, False])
def test_each_provider_has_its_options_or_says_that_it_does_not_start(
    starts: bool, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[dict[str, Any]] = []
    names = ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"]

    class Session(onnxruntime.InferenceSession):  # type: ignore[misc]
        def __init__(self, path: str, options: Any, **given: Any) -> None:
            asked.append(given)
            super().__init__(path, options, providers=names[2:])

        def get_providers(self) -> list[str]:
            return names if starts else names[2:]

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: names)
    monkeypatch.setattr(onnxruntime, "InferenceSession", Session)
    if not starts:
        with pytest.raises(UserError, match="could not start TensorrtExecutionProvider"):
            open_engine(bundle, 1, "tensorrt")
        return
    open_engine(bundle, 1, "tensorrt")
    assert [given["providers"] for given in asked] == [names] * 3
    for name, given in zip(("vision", "resampler", "decoder"), asked, strict=True):
        assert given["provider_options"] == [provider_options(bundle, name), {}, {}]


def test_the_engine_is_small() -> None:
    """An engine that can be read in one sitting is what makes it fit to be reviewed unrun."""
    folder = Path(inspect.getfile(NativeEngine)).parent
    names = ("engine", "program", "feed", "context", "media_shelf", "cache", "gpu")
    lines = {name: code_lines((folder / f"{name}.py").read_text()) for name in names}
    assert max(lines.values()) <= 100
    assert sum(lines.values()) <= 350


def code_lines(text: str) -> int:
    """Lines of a file that are neither empty, comments, imports nor docstrings."""
    tree = ast.parse(text)
    described = (ast.Module, ast.ClassDef, ast.FunctionDef)
    skipped: list[ast.stmt] = [
        node for node in ast.walk(tree) if isinstance(node, (ast.Import, ast.ImportFrom))
    ]
    skipped += [
        node.body[0]
        for node in ast.walk(tree)
        if isinstance(node, described) and ast.get_docstring(node) is not None
    ]
    numbers = {line for node in skipped for line in range(node.lineno, (node.end_lineno or 0) + 1)}
    return sum(
        bool(line.strip()) and not line.strip().startswith("#") and number not in numbers
        for number, line in enumerate(text.splitlines(), 1)
    )
