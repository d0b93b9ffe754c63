"""The closed-loop benchmark: what counts as a success, and that the oracle and chance differ."""

from __future__ import annotations

import json
import os
from typing import Any

import closed_loop
import pytest
from closed_loop import Episode

from otter_tuning.pocket.kinds import evaluation_seeds


@pytest.fixture(autouse=True)
def headless(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "PYGLET_HEADLESS", "1")


def step(pixels: int, **fields: Any) -> dict[str, Any]:
    return {"event": "step", "frame": 0, "info": {"pixels": pixels}, **fields}


def end(reward: float) -> dict[str, Any]:
    return {
        "event": "episode",
        "seed": 5,
        "reward": reward,
        "steps": 9,
        "info": {"wrong_pickups": 1},
    }


@pytest.mark.parametrize(
    ("answer", "success"),
    [
        (step(200, answer="Go forward.", skill="go_forward"), True),
        (step(0, answer="Look around.", skill="look_around"), True),
        (step(3, answer="Look around.", skill="look_around"), True),  # too small to be held to it
        (step(200, answer="Look around.", skill="look_around"), False),
        (step(0, abstained="camera-stale"), True),
        (step(200, abstained="camera-stale"), False),
        (step(200, answer="?", refused="unknown-skill"), True),
    ],
)
def test_an_abstention_with_the_target_in_view_is_a_failure(
    answer: dict[str, Any], success: bool
) -> None:
    (episode,) = closed_loop._episodes(iter([answer, end(1.0)]))
    assert episode.picked_up
    assert episode.success is success
    (episode,) = closed_loop._episodes(iter([answer, end(0.0)]))
    assert not episode.success


def test_answers_belong_to_their_own_episode() -> None:
    events = [step(0, abstained="busy"), end(1.0), step(99, abstained="busy"), end(1.0)]
    assert [episode.success for episode in closed_loop._episodes(iter(events))] == [True, False]


def test_the_oracle_fetches_and_remembers() -> None:
    played = closed_loop.play(True, evaluation_seeds(3, 2, closed_loop.OFFSET), None)
    assert all(isinstance(episode, Episode) and episode.success for episode in played)
    assert all(3 < episode.steps < 22 for episode in played)


@pytest.mark.slow
def test_the_whole_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    """`pytest -m slow tests/benchmarks/test_closed_loop.py`: half a minute."""
    words = ["--episodes", "6", "--memory-episodes", "4", "--seed", "3", "--threads", "1"]
    assert closed_loop.main(words) == 0
    row = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert row["success"] > row["random_success"]
    assert row["memory_success"] >= row["memory_last_frame_success"]
    assert row["episodes"] == 6
