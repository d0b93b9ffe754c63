"""`otter-edge export` and `verify`, as a user runs them."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from types import ModuleType

import pytest
import torch
from safetensors.torch import save_file

from otter_export.commands import export, verify
from otter_export.sample import random_samples, write_samples
from otter_model.checkpoint import save
from otter_model.tiny import tiny_checkpoint
from otter_runtime.bundle import Bundle
from otter_runtime.errors import BundleError, UserError


def call(command: ModuleType, *words: object) -> int:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    code: int = command.run(parser.parse_args([str(word) for word in words]))
    return code


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    save(tiny_checkpoint("llama", max_frames=4).build(), tmp_path / "checkpoint")
    return tmp_path / "checkpoint"


@pytest.fixture
def calibration(tmp_path: Path) -> Path:
    config = tiny_checkpoint("llama", max_frames=4).config
    write_samples(tmp_path / "c.npz", random_samples(config, 3, frames=2, length=20))
    return tmp_path / "c.npz"


def test_export_then_verify(
    checkpoint: Path, calibration: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "bundle"
    words = ["--calibration", calibration, "--frames", "2", "--rate-hz", "4", "--json"]
    assert call(export, checkpoint, "-o", out, *words) == 0
    told = json.loads(capsys.readouterr().out)
    bundle = Bundle.load(out)
    assert told["model_hash"] == bundle.model_hash
    assert bundle.manifest.window.frames == 2
    assert bundle.manifest.decoding.stop_ids == [60]
    assert bundle.manifest.calibration["samples"] == 3
    assert bundle.manifest.calibration["kind"] == "samples"
    assert len(bundle.manifest.calibration["sha256"]) == 64
    assert set(bundle.manifest.step_cost) == {"encode", "resample", "prefill", "decode"}
    assert not list(tmp_path.glob("*.partial"))
    assert call(verify, out, "--json") == 0
    figures = json.loads(capsys.readouterr().out)["figures"]
    assert figures["logits_cosine"] > 0.98


def test_the_same_input_gives_the_same_model(
    checkpoint: Path, calibration: Path, tmp_path: Path
) -> None:
    outs = [tmp_path / "one", tmp_path / "two"]
    for out in outs:
        call(export, checkpoint, "-o", out, "--calibration", calibration, "--json")
    hashes = [Bundle.load(out).manifest.files for out in outs]
    assert hashes[0] == hashes[1]


def test_the_manifest_says_the_precision_of_each_graph(
    checkpoint: Path, calibration: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--calibration", calibration, "--precision", "vision=fp32,head=fp32", "--json"]
    call(export, checkpoint, "-o", tmp_path / "b", *words)
    graphs = Bundle.load(tmp_path / "b").manifest.graphs
    assert [g.precision for g in (graphs.vision, graphs.resampler, graphs.decoder)] == [
        "fp32",
        "fp32",
        "int8",
    ]
    assert graphs.decoder.head == "fp32"
    told = json.loads(capsys.readouterr().out)
    assert told["precision"] == "vision=fp32,resampler=fp32,decoder=int8,head=fp32"
    assert told["verification"]["features_cosine"] > 1 - 1e-6


def test_a_bundle_is_replaced_only_when_told(
    checkpoint: Path, calibration: Path, tmp_path: Path
) -> None:
    words = [checkpoint, "-o", tmp_path / "b", "--precision", "fp32", "--json"]
    assert call(export, *words) == 0
    with pytest.raises(UserError, match="give --overwrite"):
        call(export, *words)
    assert call(export, *words, "--overwrite") == 0


def test_a_folder_that_cannot_be_made_is_one_sentence(checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"cannot be made \(Not a directory\); give -o another"):
        call(export, checkpoint, "-o", tmp_path / "file" / "b", "--precision", "fp32")


def test_a_folder_of_something_else_is_left_alone(checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "thesis.txt").write_text("years of work")
    with pytest.raises(UserError, match="is not a bundle"):
        call(export, checkpoint, "-o", tmp_path / "precious", "--precision", "fp32", "--overwrite")
    assert (tmp_path / "precious" / "thesis.txt").exists()


def test_int8_wants_calibration(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="give --calibration PATH"):
        call(export, checkpoint, "-o", tmp_path / "b")


def test_a_folder_without_checkpoint_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"config\.json does not exist"):
        call(export, tmp_path, "-o", tmp_path / "b", "--precision", "fp32")


def test_an_unknown_random_model_names_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="otter-mpt1b"):
        call(export, "--random", "otter-mpt2b", "-o", tmp_path / "b")


def test_a_missing_tensor_is_named(checkpoint: Path, tmp_path: Path) -> None:
    save_file({"perceiver.latents": torch.zeros(5, 24)}, checkpoint / "model.safetensors")
    with pytest.raises(UserError, match="lacks tensor"):
        call(export, checkpoint, "-o", tmp_path / "b", "--precision", "fp32")


def test_verify_refuses_a_changed_bundle(checkpoint: Path, tmp_path: Path) -> None:
    out = tmp_path / "b"
    call(export, checkpoint, "-o", out, "--precision", "fp32", "--json")
    with (out / "vision.bin").open("r+b") as file:
        file.write(b"\1\2\3")
    with pytest.raises(BundleError, match=r"vision\.bin"):
        call(verify, out)
