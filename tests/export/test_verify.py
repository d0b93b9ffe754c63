"""`otter-edge verify --against`: figures, the page, and planted damage found where it is."""

from __future__ import annotations

import argparse
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from otter_export.baseline import baselines
from otter_export.bundle_writer import Export
from otter_export.commands import verify
from otter_export.comparison import compare, whole_error
from otter_export.graph_run import GraphRun
from otter_export.layer_error import linears
from otter_export.sample import random_samples
from otter_export.settings import Settings
from otter_model.checkpoint import Checkpoint, open_checkpoint, save
from otter_model.tiny import tiny_checkpoint
from otter_runtime.bundle import MANIFEST, Bundle
from otter_runtime.errors import UserError

ROOT = Path(__file__).parents[2]
POCKET = ROOT / "runtime" / "otter_runtime" / "pocket" / "bundle-int8"


def call(*words: object) -> int:
    parser = argparse.ArgumentParser()
    verify.add_arguments(parser)
    return verify.run(parser.parse_args([str(word) for word in words]))


def exported(checkpoint: Checkpoint, precision: str, out: Path, name: str = "tiny") -> Bundle:
    samples = random_samples(checkpoint.config, 3, frames=2, length=20)
    return Export(checkpoint, precision, samples, Settings(name=name)).write(out)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    save(tiny_checkpoint("mpt1b", max_frames=4).build(), tmp_path / "checkpoint")
    return tmp_path / "checkpoint"


def test_every_linear_layer_is_compared(tmp_path: Path) -> None:
    for family in ("mpt", "mpt1b", "llama"):
        made = tiny_checkpoint(family, max_frames=4)
        fp32 = exported(made, "fp32", tmp_path / family / "fp32")
        int8 = exported(made, "int8", tmp_path / family / "int8")
        names = {name: linears(GraphRun(fp32, name).model) for name in ("vision", "decoder")}
        decoder = {linear.name for linear in names["decoder"]}
        assert {"decoder.head", "decoder.0.qkv", "decoder.0.up", "decoder.0.down"} <= decoder
        found = compare(fp32, int8, random_samples(made.config, 2, frames=2, length=20))
        assert decoder == {layer.name for layer in found.layers if layer.graph == "decoder"}
        assert all(0 < layer.own < 0.1 for layer in found.layers if layer.graph == "decoder")
        first = {layer.graph: layer for layer in reversed(found.layers)}  # nothing before it errs
        assert set(first) == {"vision", "resampler", "decoder"}
        for layer in first.values():
            assert layer.own == pytest.approx(layer.accumulated, rel=1e-3)
        assert found.whole.greedy_agreement > 0.5
        assert found.whole.tokens == 40
        same = compare(fp32, fp32, random_samples(made.config, 2, frames=2, length=20))
        assert max(max(layer.own, layer.accumulated) for layer in same.layers) < 1e-5
        assert (same.whole.next_token_kl, same.whole.greedy_agreement) == (0, 1)


def test_damage_is_found_where_it_is(checkpoint: Path, tmp_path: Path) -> None:
    made = open_checkpoint(checkpoint)
    fp32 = exported(made, "fp32", tmp_path / "fp32")
    int8 = exported(made, "int8", tmp_path / "int8")
    samples = random_samples(made.config, 2, frames=2, length=20)
    before = compare(fp32, int8, samples)
    path = int8.path / "decoder.onnx"
    model = onnx.load(str(path), load_external_data=False)
    scale = next(t for t in model.graph.initializer if t.name == "decoder.1.qkv.scale")
    doubled = numpy_helper.to_array(scale, str(int8.path)) * 2
    scale.CopyFrom(numpy_helper.from_array(doubled, scale.name))
    path.write_bytes(model.SerializeToString())
    after = compare(fp32, int8, samples)
    worst = max(after.layers, key=lambda layer: layer.own)
    assert worst.name == "decoder.1.qkv"
    unharmed = {layer.name: layer.own for layer in before.layers if layer.name != worst.name}
    assert {n.name: n.own for n in after.layers if n.name != worst.name} == pytest.approx(unharmed)
    assert after.whole.next_token_kl > before.whole.next_token_kl


def test_bitsandbytes_is_the_baseline(tmp_path: Path) -> None:
    checkpoint = open_checkpoint(ROOT / "tuning" / "pocket" / "checkpoint")
    samples = random_samples(checkpoint.config, 2, frames=4, length=20)
    fp32 = Export(checkpoint, "fp32", samples).write(tmp_path / "fp32")
    truth = compare(fp32, fp32, samples).logits
    rows = {
        name: whole_error(name, truth, it) for name, it in baselines(checkpoint, samples).items()
    }
    assert set(rows) == {"LLM.int8", "NF4"}
    assert 0 < rows["LLM.int8"].next_token_kl < rows["NF4"].next_token_kl < 1


def test_the_command_tells_states_and_draws(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    int8 = exported(open_checkpoint(checkpoint), "int8", tmp_path / "int8")
    page = tmp_path / "report.html"
    words = (int8.path, "--against", checkpoint, "--baseline", "--report", page, "--json")
    assert call(*words) == 0
    told = json.loads(capsys.readouterr().out)["against"]
    assert [row["graph"] for row in told["graphs"]] == ["vision", "resampler", "decoder"]
    assert 0 < told["whole"]["next_token_kl"] < 0.1
    stated = Bundle.load(int8.path)
    assert stated.model_hash == int8.model_hash
    assert stated.manifest.verification["against_fp32"]["whole"] == told["whole"]
    text = page.read_text()
    HTMLParser().feed(text)
    assert re.findall(r'<figure id="plot-(\w+)">.*?<svg', text, re.DOTALL) == [
        "vision",
        "resampler",
        "decoder",
    ]
    assert not re.search(r'(src|href)="(?!#)', text)  # readable offline
    assert told["worst_layer"]["name"] in text
    assert call(*words[:3]) == 0
    assert "most error enters at" in capsys.readouterr().out


def test_no_write_leaves_the_bundle_alone(checkpoint: Path, tmp_path: Path) -> None:
    int8 = exported(open_checkpoint(checkpoint), "int8", tmp_path / "int8")
    before = (int8.path / MANIFEST).read_bytes()
    fp32 = exported(open_checkpoint(checkpoint), "fp32", tmp_path / "fp32")
    assert call(int8.path, "--against", fp32.path, "--no-write", "--json") == 0
    assert (int8.path / MANIFEST).read_bytes() == before


def test_what_does_not_fit_is_told(checkpoint: Path, tmp_path: Path) -> None:
    made = open_checkpoint(checkpoint)
    int8 = exported(made, "int8", tmp_path / "int8")
    with pytest.raises(UserError, match="give --against"):
        call(int8.path, "--report", tmp_path / "x.html")
    with pytest.raises(UserError, match="is an int8 bundle"):
        call(int8.path, "--against", int8.path)
    fp32 = exported(made, "fp32", tmp_path / "fp32")
    with pytest.raises(UserError, match="give --against the checkpoint's folder"):
        call(int8.path, "--against", fp32.path, "--baseline", "--no-write")
    with pytest.raises(UserError, match="no world of fresh episodes for 'tiny'"):
        call(int8.path, "--against", fp32.path, "--episodes", 3, "--no-write")
    other = exported(tiny_checkpoint("llama", max_frames=4), "fp32", tmp_path / "other")
    with pytest.raises(UserError, match="is another network"):
        call(int8.path, "--against", other.path)
    shutil.copytree(POCKET, tmp_path / "pocket")
    with pytest.raises(UserError, match=r"is not what .* was made of"):
        call(tmp_path / "pocket", "--against", checkpoint)


@pytest.mark.filterwarnings("ignore")  # the simulator's dependencies warn
def test_fresh_episodes_of_pockets_own_world(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "pocket.html"
    words = ["--against", ROOT / "tuning" / "pocket" / "checkpoint", "--no-write", "--json"]
    assert call(POCKET, *words, "--episodes", 3, "--report", page) == 0
    told = json.loads(capsys.readouterr().out)["against"]["accuracy"]
    assert told["questions"] > 5
    assert told["planning_fp32"] > 0.5
    assert told["difference_low"] <= told["difference"] <= told["difference_high"]
    assert "Right answers on fresh episodes" in page.read_text()
    assert np.isfinite(told["mcnemar_p"])
