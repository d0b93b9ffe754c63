"""The accuracy benchmark: any seed is a stretch of the evaluation seeds, and its line is JSON."""

from __future__ import annotations

import json
from pathlib import Path

import pocket_accuracy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from otter_tuning.pocket.kinds import SEEDS, STRETCH, evaluation_seeds
from otter_tuning.pocket.questions import CLASSES

ROOT = Path(__file__).parents[2]
BUNDLE = ROOT / "runtime" / "otter_runtime" / "pocket" / "bundle-int8"


@given(stretch=st.integers(-(10**12), 10**12), episodes=st.integers(1, 400_000))
def test_any_seed_is_a_stretch_of_the_evaluation_seeds(stretch: int, episodes: int) -> None:
    for offset in (0, STRETCH // 2):
        seeds = evaluation_seeds(stretch, episodes, offset)
        assert len(seeds) == episodes
        assert seeds[0] in SEEDS["evaluation"]
        assert seeds[-1] in SEEDS["evaluation"]


@pytest.mark.filterwarnings("ignore")  # the simulator's dependencies warn
def test_it_prints_one_flat_line(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--bundle", str(BUNDLE), "--episodes", "3", "--seed", "5", "--threads", "1", "--json"]
    assert pocket_accuracy.main(words) == 0
    (line,) = capsys.readouterr().out.splitlines()
    row = json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert row["answers"] > 5
    assert row["planning_int8"] > 0.5
    assert set(row["planning_by_class_int8"]) == set(CLASSES)
    assert row["planning_blank"] < row["planning_int8"]


def test_a_bundle_that_is_not_there_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert pocket_accuracy.main(["--bundle", "nowhere"]) == 2
    said = capsys.readouterr().err
    assert "nowhere" in said
    assert "Traceback" not in said
