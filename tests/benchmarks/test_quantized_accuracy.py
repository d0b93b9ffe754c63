"""The benchmark of precisions: pairs with fp32, says JSON, and asks no kept variant again."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import quantized_accuracy as benchmark

from otter_export.precision import RECIPES
from otter_tuning.pocket import calibration


@pytest.mark.filterwarnings("ignore")  # the simulator's dependencies warn
def test_a_variant_is_set_beside_fp32_and_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(calibration, "EPISODES", 4)
    for name, recipe in benchmark.BASELINES.items():  # taken out again afterwards
        monkeypatch.setitem(RECIPES, name, recipe)
    words = ["--questions", "21", "--variants", "int4+outliers", "--keep", str(tmp_path), "--json"]
    assert benchmark.main([*words, "--threads", "1"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    told = json.loads(line)
    row = told["variants"]["int4+outliers"]
    assert told["questions"] > 5
    assert row["planning"] > 0.5
    assert row["interval"][0] <= row["difference"] <= row["interval"][1]
    assert 0 < row["next_token_kl"] < 0.1
    monkeypatch.setattr(benchmark.Run, "_ask", lambda *_: pytest.fail("asked again"))
    assert benchmark.main(words) == 0
    assert json.loads(capsys.readouterr().out) == told


def test_divergence_is_zero_only_for_the_same_distribution() -> None:
    logits = np.random.default_rng(0).standard_normal((5, 9)).astype(np.float32)
    assert benchmark.divergence(logits, logits + 3) == pytest.approx(0, abs=1e-6)
    assert benchmark.divergence(logits, 2 * logits) > 0.01


def test_every_variant_has_its_table_row() -> None:
    right = np.array([True, False, True])
    logits = np.eye(3, dtype=np.float32)
    figures = benchmark.Figures.of(
        benchmark.Result(right, logits), benchmark.Result(~right, logits)
    )
    lines = benchmark.table(dict.fromkeys(benchmark.VARIANTS, figures)).splitlines()
    assert len(lines) == 1 + len(benchmark.VARIANTS)
    assert "-33.33" in lines[1]
