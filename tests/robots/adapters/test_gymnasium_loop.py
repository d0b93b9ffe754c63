"""The closed loop for a few episodes: a runtime with the pocket model, and the adapter beside it,
over the real bus.

Over 200 episodes it is `benchmarks/closed_loop.py`.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium
import msgspec
import numpy as np
import pytest

from otter_robots import endpoints, settings
from otter_robots.adapters.gymnasium import config as gym
from otter_robots.adapters.gymnasium.body import Body
from otter_robots.adapters.gymnasium.pilot import Pilot
from otter_robots.client import Client
from otter_robots.errors import UserError
from otter_robots.messages import Health
from otter_robots.topics import HEALTH
from otter_runtime.stage import running

EXAMPLE = Path(gym.__file__).with_name("config.yaml")
SIMULATOR = Path(__file__).parents[3] / "configs" / "devices" / "simulator.yaml"
PATIENCE_S = 120.0
SEED = 3_000_000


class Static(gymnasium.Env[Any, Any]):
    """Coloured noise, another picture with each step; `dark` as if the lens were covered."""

    def __init__(self, steps: int = 6, dark: bool = False) -> None:
        self.steps, self.dark = steps, dark
        self.done: list[int] = []

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        self.done = []
        return self._picture(), {"target": "red box"}

    def step(self, action: int) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.done.append(action)
        over = len(self.done) == self.steps
        return self._picture(), 0.0, over, False, {"target": "red box"}

    def _picture(self) -> Any:
        random = np.random.default_rng(len(self.done))
        return random.integers(0, 6 if self.dark else 255, (64, 64, 3), np.uint8)


@pytest.fixture(scope="module")
def run() -> Iterator[Path]:
    """The folder of a run whose frames are pushed."""
    with tempfile.TemporaryDirectory(prefix="otter-") as name:
        words = ["--config", str(SIMULATOR), "--threads", "1"]
        with running(words, Path(name)):
            with connected(Path(name)) as bus:
                _wait_until_ready(bus)
            yield Path(name)


def connected(folder: Path) -> Client:
    return Client(endpoints.stream_endpoint(folder), endpoints.requests_endpoint(folder), "test")


def _wait_until_ready(bus: Client) -> None:
    until_s = time.monotonic() + PATIENCE_S
    for _, heard in bus.messages([HEALTH]):
        if isinstance(heard, Health) and heard.brain_alive:
            return
        assert time.monotonic() < until_s


def example(**values: Any) -> gym.Config:
    """The example's configuration with some values replaced."""
    return settings.convert(gym.Config, settings.load(EXAMPLE) | values, None)


Events = list[dict[str, Any]]


def fly(bus: Client, env: Static, dry_run: bool = False, **values: Any) -> tuple[Pilot, Events]:
    """A pilot in this process, and the events it will tell."""
    events: Events = []

    def say(event: str, **fields: Any) -> None:
        events.append({"event": event, **fields})

    config = example(**values)
    return Pilot(bus, Body(config, env), config, say, dry_run), events


def test_the_robot_fetches_what_it_is_sent_for(
    start: Any, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(os.environ, "PYGLET_HEADLESS", "1")
    path = tmp_path / "robot.json"
    path.write_bytes(msgspec.json.encode(example(kwargs={"memory": True})))
    words = ["--folder", str(run), "--config", str(path), "--json", "--episodes", "3"]
    robot = start("-m", "otter_robots.adapters.gymnasium", *words, "--seed", str(SEED))
    assert robot.child.wait(PATIENCE_S) == 0, robot.told()
    robot._reader.join()
    episodes = [event for event in robot.events if event["event"] == "episode"]
    assert [episode["seed"] for episode in episodes] == [SEED, SEED + 1, SEED + 2]
    assert sum(episode["reward"] > 0 for episode in episodes) >= 2
    assert sum(episode["abstained"] + episode["refused"] for episode in episodes) == 0
    steps = [event for event in robot.events if event["event"] == "step"]
    assert len(steps) == sum(episode["answers"] for episode in episodes)
    for step in steps:  # each answer is about the frame it was asked at, and its scene's window
        assert len(step["frames"]) <= min(step["frame"] + 1, 4)
        assert "target" in step["info"]
    assert [len(step["frames"]) for step in steps if step["frame"] == 0] == [1, 1, 1]


def test_each_answer_becomes_its_actions(run: Path) -> None:
    env = Static()
    with connected(run) as bus:
        pilot, events = fly(bus, env, detours={})
        tally = pilot.episode(SEED)
    assert (tally.steps, tally.refused, tally.abstained) == (6, 0, 0)
    actions = settings.load(EXAMPLE)["actions"]
    answered = [action for step in events[:-1] for action in actions[step["skill"]]]
    assert env.done == answered[:6]


def test_an_answer_that_is_no_skill_moves_nothing(run: Path) -> None:
    env = Static()
    skills = {"skills": {"go": {"say": "Please go."}}}
    with connected(run) as bus:
        pilot, events = fly(bus, env, skills=skills, actions={"go": [2]}, detours={})
        tally = pilot.episode(SEED)
    assert tally.refused == 6
    assert {step["refused"] for step in events[:-1]} == {"unknown-skill"}
    assert env.done == [6] * 6  # held


def test_with_an_offer_nothing_but_a_skill_is_answered(run: Path) -> None:
    env = Static()
    skills = {"skills": {"go": {"say": "Please go."}, "wait": {"say": "Please wait."}}}
    with connected(run) as bus:
        actions = {"go": [2], "wait": [3]}
        pilot, events = fly(bus, env, skills=skills, actions=actions, detours={}, offer=True)
        tally = pilot.episode(SEED)
    assert (tally.answers, tally.refused) == (6, 0)
    says = {"go": 2, "wait": 3, "no_action": 6, "cant_see": 6}
    assert env.done == [says[step["skill"]] for step in events[:-1]]


def test_a_robot_that_sees_nothing_holds(run: Path) -> None:
    env = Static(dark=True)
    with connected(run) as bus:
        pilot, events = fly(bus, env)
        tally = pilot.episode(SEED)
    assert tally.abstained == 6
    assert {step["abstained"] for step in events[:-1]} == {"camera-black"}
    assert env.done == [6] * 6


def test_a_dry_run_asks_and_moves_nothing(run: Path) -> None:
    env = Static()
    with connected(run) as bus:
        pilot, events = fly(bus, env, dry_run=True)
        tally = pilot.episode(SEED)
    assert (tally.answers, tally.steps, env.done) == (1, 0, [])
    assert "skill" in events[0]


def test_a_stop_on_the_bus_holds_the_robot(run: Path) -> None:
    env = Static(steps=100_000)
    with connected(run) as bus, connected(run) as operator:
        pilot, events = fly(bus, env, detours={})
        said = pilot.say

        def stop_at_the_third(event: str, **fields: Any) -> None:
            said(event, **fields)
            if len(events) == 3:
                operator.stop()
            env.steps = len(env.done) + 30 if "refused" in fields and env.steps > 1e4 else env.steps

        pilot.say = stop_at_the_third
        try:
            pilot.episode(SEED)
        finally:
            operator.resume()
    reasons = [event.get("refused") for event in events[:-1]]
    first = reasons.index("stopped")
    assert set(reasons[first:]) == {"stopped"}
    assert set(env.done[-30:]) == {6}


def test_what_does_not_fit_together_is_one_sentence(run: Path) -> None:
    with connected(run) as bus:
        with pytest.raises(UserError, match="skills and actions differ in go_forward"):
            fly(bus, Static(), actions={"stop": [1]})
        with pytest.raises(UserError, match="a detour for dance, which is no declared skill"):
            fly(bus, Static(), detours={"dance": {"plans": [[1]]}})
        with pytest.raises(UserError, match="cannot stand still; set `hold`"):
            fly(bus, Static(), hold=None)
        pilot, _ = fly(bus, Static(), question="Go to the {door}.")
        with pytest.raises(UserError, match=r"reset` does not tell \('door'\); it tells target"):
            pilot.episode(SEED)
