"""The benchmark of rounding: each way exported, held to fp32, said as JSON."""

from __future__ import annotations

import json

import pytest
import rounding as benchmark

from otter_export.precision import RECIPES
from otter_tuning.pocket import calibration


@pytest.mark.filterwarnings("ignore")  # the simulator's dependencies warn
def test_a_way_is_held_to_fp32(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(calibration, "EPISODES", 2)
    monkeypatch.setattr(benchmark, "WAYS", {"nearest": (0.0, False)})
    assert benchmark.main(["--episodes", "1", "--threads", "1"]) == 0
    table, line = capsys.readouterr().out.strip().rsplit("\n", 1)
    row = json.loads(line)["ways"]["nearest"]
    assert 0.02 < row["layer_error"] <= row["worst_layer_error"] < 0.3
    assert 0 < row["next_token_kl"] < 0.2
    assert "nearest" in table
    assert "way" not in RECIPES
