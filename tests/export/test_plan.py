"""The plan said before an export: sizes against real files, predictions against their formula.

`pytest -m slow tests/export/test_plan.py` also holds the predicted memory to a real export's.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from otter_export.commands import export
from otter_export.graphs import write_graphs
from otter_export.layers import Weights
from otter_export.network_size import encode_flops, graph_bytes, prefill_flops
from otter_export.plan import CONTEXT, FRESH, Plan
from otter_export.precision import RECIPES, TARGETS, Choice
from otter_export.progress import silent
from otter_export.reference import Reference
from otter_export.sample import random_samples
from otter_model.checkpoint import open_checkpoint
from otter_model.config import Family, OtterConfig
from otter_model.published import PUBLISHED
from otter_model.random_weights import RandomTensors
from otter_model.tiny import tiny_config
from otter_runtime.assembly import POCKET
from otter_runtime.bench import forecast as of_bundle
from otter_runtime.bench.devices import DEVICES, Device
from otter_runtime.bundle import GRAPHS, Bundle
from otter_runtime.errors import UserError

POCKET_CHECKPOINT = Path(__file__).parents[2] / "tuning" / "pocket" / "checkpoint"


def wide_config(family: Family) -> OtterConfig:
    """Few layers, but wide enough that padding between tensors does not count."""
    tiny = tiny_config(family, max_frames=4)
    return replace(
        tiny,
        vision=replace(tiny.vision, dim=128, heads=2, mlp_dim=512),
        perceiver=replace(tiny.perceiver, dim=128, heads=2, head_dim=64, latents=8),
        decoder=replace(
            tiny.decoder, dim=256, heads=4, mlp_dim=768, vocab=512, cross_heads=2, cross_head_dim=64
        ),
    )


@pytest.mark.parametrize(
    ("family", "precision"),
    [*(("mpt1b", name) for name in sorted(RECIPES)), ("llama", "int8"), ("mpt", "vision=fp16")],
)
def test_sizes_are_those_of_the_files(family: Family, precision: str, tmp_path: Path) -> None:
    config, choice = wide_config(family), Choice.parse(precision)
    weights = Weights(RandomTensors(config))
    reference = Reference(config, weights, silent, 1, choice.wants())
    if choice.wants():
        reference.run(random_samples(config, 1, length=8))
    write_graphs(tmp_path, config, weights, choice.make(reference.seen))
    predicted = graph_bytes(config, choice.parts())
    for name in GRAPHS:
        assert predicted[name] == pytest.approx((tmp_path / f"{name}.bin").stat().st_size, rel=0.03)


def test_published_sizes_keep_their_promise() -> None:
    def gigabytes(model: str, precision: str) -> dict[str, float]:
        sizes = graph_bytes(PUBLISHED[model], Choice.parse(precision).parts())
        return {name: size / 1e9 for name, size in sizes.items()}

    for precision, least_1b, least_7b in (("int8", 2.45, 8.3), ("int4", 1.5, 4.8)):
        assert gigabytes("otter-mpt1b", precision)["decoder"] <= least_1b
        assert gigabytes("otter-mpt7b", precision)["decoder"] <= least_7b
    for precision, least in (("vision=fp16", 0.8), ("int8", 0.42)):
        sizes = gigabytes("otter-mpt1b", precision)
        assert sizes["vision"] + sizes["resampler"] <= least


def test_work_is_what_the_reference_was_counted_to_do() -> None:
    # Billions of operations per frame, and per token with the head (facts of the 1B and 7B).
    assert encode_flops(PUBLISHED["otter-mpt1b"]) == pytest.approx(162.0e9, rel=0.001)
    assert prefill_flops(PUBLISHED["otter-mpt1b"], 1) == pytest.approx(4.33e9, rel=0.002)
    assert prefill_flops(PUBLISHED["otter-mpt7b"], 1) == pytest.approx(15.51e9, rel=0.002)
    assert prefill_flops(PUBLISHED["otter-llama7b-video"], 1) == pytest.approx(15.43e9, rel=0.002)


def forecast(model: str, choice: Choice) -> dict[str, Any]:
    told: dict[str, Any] = Plan(PUBLISHED[model], choice).told()["devices"]
    return told


def test_a_prediction_is_its_formula() -> None:
    orin = forecast("otter-mpt1b", TARGETS["jetson"])["AGX Orin 64GB"]
    low, high = orin["decode_tokens_s"]
    # 2.17 GB of weights, 0.20 GB of K/V and 0.01 of media at 205 GB/s, 65 to 80 % of it.
    assert low == pytest.approx(0.65 * 205 / 2.39, rel=0.01)
    assert high == pytest.approx(0.80 * 205 / 2.39, rel=0.01)
    assert orin["encode_ms"] == pytest.approx(162 / (0.5 * 42), rel=0.01)


def test_what_does_not_fit_has_no_speed() -> None:
    seven = forecast("otter-mpt7b", Choice())
    assert seven["Orin Nano 8GB"]["fit"] == "no"
    assert seven["Orin Nano 8GB"]["decode_tokens_s"] is None
    assert seven["Orin NX 16GB"]["fit"] in ("yes", "tight")
    assert set(seven) == {device.name for device in DEVICES}


def test_dynamic_int8_has_no_speed_on_tensorrt() -> None:
    plan = Plan(PUBLISHED["otter-mpt1b"], Choice.all("int8-dynamic"))
    assert not plan.told()["tensorrt"]
    assert "TensorRT has no dynamic int8" in plan.text()
    assert all(device["decode_tokens_s"] is None for device in plan.told()["devices"].values())


def test_more_precise_is_larger_and_slower() -> None:
    plans = [Plan(PUBLISHED["otter-mpt7b"], Choice.all(n)) for n in ("int4", "int8", "fp16")]
    sizes = [sum(plan.sizes.values()) for plan in plans]
    assert sizes == sorted(sizes)
    memory = [plan.peak_gb for plan in plans]
    assert memory == sorted(memory)


def call(*words: object) -> int:
    parser = argparse.ArgumentParser()
    export.add_arguments(parser)
    return export.run(parser.parse_args([str(word) for word in words]))


def test_a_plan_alone_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert call("--random", "otter-mpt7b", "--plan") == 0
    assert "AGX Orin 64GB" in capsys.readouterr().out
    assert call("--random", "otter-mpt1b", "--target", "jetson", "--plan", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["precision"]["vision"] == "fp16"
    assert told["formulas"]
    assert not list(tmp_path.iterdir())
    with pytest.raises(UserError, match="give -o FOLDER"):
        call("--random", "otter-mpt1b")


@pytest.mark.slow
def test_the_largest_memory_is_near_the_plans(tmp_path: Path) -> None:
    """`pytest -m slow tests/export/test_plan.py`: exports the 1B model, some minutes."""
    words = ["export", "--random", "otter-mpt1b", "--threads", "2", "-o", str(tmp_path / "b")]
    subprocess.run([sys.executable, "-m", "otter_runtime", *words], check=True)
    measured = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 / 1e9
    assert measured < 5
    assert Plan(PUBLISHED["otter-mpt1b"], Choice()).peak_gb == pytest.approx(measured, rel=0.15)


def test_a_device_predicts_from_a_bundle_what_the_plan_did_from_its_config() -> None:
    config = open_checkpoint(POCKET_CHECKPOINT).config
    planned = {one.device: one for one in Plan(config, Choice.all("int8")).forecasts()}
    bundle = Bundle.load(POCKET)
    for device in DEVICES:
        told, plan = of_bundle.forecast(bundle, device, CONTEXT), planned[device.name]
        assert plan.decode_tokens_s is not None
        assert told.decode_tokens_s == pytest.approx(plan.decode_tokens_s, rel=0.02)
    slow = Device("slow", 8, bandwidth=1e6, fp16=1e-3, int8=2e-3)  # bound by arithmetic
    told = of_bundle.forecast(bundle, slow, FRESH)
    encode, prefill = encode_flops(config), prefill_flops(config, FRESH)
    assert told.encode_ms == pytest.approx(1e3 * encode / 1e9, rel=0.1)
    assert told.prefill_ms == pytest.approx(1e3 * prefill / 1e9, rel=0.1)
