"""The whole of otter_model against the reference's recorded outputs, through the parity command."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import parity
import pytest
import torch

from otter_model.golden import GoldenCase
from otter_model.parity import run_case

CASES = sorted(path.parent for path in (Path(__file__).parents[1] / "golden").glob("*/meta.json"))


def test_there_is_a_case_of_every_family() -> None:
    families = {GoldenCase.open(case).checkpoint.config.decoder.family for case in CASES}
    assert families == {"mpt", "mpt1b", "llama"}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_equals_the_reference(case: Path) -> None:
    verdict = run_case(case)
    assert verdict["max_abs_logit_diff"] < 2e-5
    assert verdict["ids_equal_seeing"]
    assert verdict["ids_equal_blind"]
    assert verdict["ids_equal_beam3"]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_eyes_and_resampler_equal_the_reference(case: Path) -> None:
    golden = GoldenCase.open(case)
    otter = golden.checkpoint.build().requires_grad_(False)
    rows, media, frames = golden.vision_x.shape[:3]
    features = otter.encode(torch.from_numpy(golden.vision_x).flatten(0, 2))
    expected = golden.outputs["clip_features"]
    np.testing.assert_allclose(features.numpy().reshape(expected.shape), expected, atol=1e-5)
    latents = otter.resample(features.reshape(rows * media, frames, *features.shape[1:]))
    expected = golden.outputs["perceiver_out"]
    np.testing.assert_allclose(latents.numpy().reshape(expected.shape), expected, atol=1e-5)


def test_the_command_prints_one_json_object_per_case(capsys: pytest.CaptureFixture[str]) -> None:
    assert parity.main([str(CASES[0]), "--json"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    verdict = json.loads(line)
    assert verdict["case"] == CASES[0].name
    assert verdict["ids_equal_beam3"] is True


def altered(case: Path, folder: Path, key: str) -> Path:
    """A copy of the case whose recorded `key` is off by a little."""
    copy = folder / "altered"
    shutil.copytree(case, copy)
    with np.load(case / "outputs.npz") as file:
        outputs = dict(file)
    off = np.zeros_like(outputs[key])
    off.flat[-1] = 1
    outputs[key] = outputs[key] + (off if off.dtype == np.int64 else 1e-4 * off)
    np.savez(copy / "outputs.npz", **outputs)
    return copy


@pytest.mark.parametrize("key", ["logits", "gen_naive", "gen_cache", "gen_beam3_cache"])
def test_a_difference_fails(key: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    case = altered(next(c for c in CASES if c.name.startswith("mpt1b")), tmp_path, key)
    assert parity.main([str(case)]) == 1
    assert "FAIL" in capsys.readouterr().out


def test_a_folder_that_is_no_case_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert parity.main([str(tmp_path), "--json"]) == 2
    captured = capsys.readouterr()
    assert str(tmp_path) in captured.err
    assert captured.out == ""
