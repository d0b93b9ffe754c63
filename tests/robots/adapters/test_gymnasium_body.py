"""An environment as a body: what skills become, what is done at obstacles, and its cameras."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from numpy.typing import NDArray

from otter_robots import settings
from otter_robots.adapters.gymnasium.body import Body, open_env
from otter_robots.adapters.gymnasium.config import Config
from otter_robots.errors import UserError

FORWARD, TURN, REACH = 2, 0, 4
Seen = NDArray[np.uint8]


class Corridor(gymnasium.Env[Any, Any]):
    """Forward counts the picture's grey level up to a wall; turning brightens its corner."""

    action_space = spaces.Discrete(5)

    def __init__(self, wall: int = 100, steps: int = 100, **kwargs: Any) -> None:
        self.wall, self.steps = wall, steps
        self.render_mode = kwargs.pop("render_mode", None)
        assert not kwargs
        self.done: list[Any] = []
        self.place = self.turned = 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        self.done, self.place, self.turned = [], 0, 0
        return self.render(), {"goal": "door", "seed": seed}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.done.append(action)
        if isinstance(action, (int, np.integer)) and action == FORWARD:
            self.place = min(self.place + 1, self.wall)
        self.turned += action is TURN
        over = len(self.done) >= self.steps
        return self.render(), float(over), over, False, {}

    def render(self) -> Any:
        picture = np.full((6, 8, 3), self.place, np.uint8)
        picture[0, 0] = self.turned
        return picture


def body(env: Any, **values: Any) -> Body:
    actions = {"go": [FORWARD], "stop": [REACH, FORWARD, REACH], "look": [TURN]}
    return Body(settings.convert(Config, {"actions": actions, **values}, None), env)


def do(one: Body, skill: str) -> list[int]:
    """Carry out a skill; the numbers of the frames that came."""
    return [sight.number for sight in one.carry_out(skill)]


def test_a_skill_is_its_actions_a_frame_each() -> None:
    env = Corridor()
    one = body(env)
    first = one.begin(seed=7)
    assert (first.number, first.info["seed"], first.pixels.shape) == (0, 7, (6, 8, 3))
    assert do(one, "go") == [1]
    assert do(one, "stop") == [2, 3, 4]
    assert env.done == [FORWARD, REACH, FORWARD, REACH]
    assert one.sight.pixels[1, 1, 0] == 2


def test_an_episode_that_is_over_takes_no_more() -> None:
    env = Corridor(steps=2)
    one = body(env)
    one.begin(0)
    assert do(one, "stop") == [1, 2]
    assert (one.sight.over, one.sight.reward) == (True, 1.0)
    assert do(one, "go") == []


def test_an_obstacle_is_passed_and_where_that_fails_the_next_way_is_tried() -> None:
    env = Corridor(wall=1)
    plans = [[TURN, FORWARD], [TURN, TURN]]  # forward stays at the wall: the first plan fails
    one = body(env, detours={"go": {"plans": plans}})
    one.begin(0)
    assert do(one, "go") == [1]
    assert do(one, "go") == [2, 3, 4]
    assert env.done == [FORWARD, FORWARD, TURN, FORWARD]
    for _ in range(2):  # the second one meets nothing, and stays
        do(one, "go")
    assert env.done[4:] == [FORWARD, TURN, TURN] * 2
    one.begin(1)
    do(one, "go")
    do(one, "go")
    assert env.done == [FORWARD, FORWARD, TURN, FORWARD]


def test_what_leads_nowhere_for_long_is_done_from_somewhere_else() -> None:
    env = Corridor()
    one = body(env, detours={"look": {"after": 3, "plans": [[FORWARD, FORWARD]]}})
    one.begin(0)
    for _ in range(2):
        do(one, "look")
    do(one, "go")
    for _ in range(6):
        do(one, "look")
    looks, away = [TURN] * 3, [FORWARD, FORWARD]
    assert env.done == [TURN, TURN, FORWARD, *looks, *away, *looks, *away]


def test_holding_is_what_the_configuration_says() -> None:
    env = Corridor()
    one = body(env, hold=[1])
    one.begin(0)
    assert [sight.number for sight in one.hold()] == [1]
    assert env.done == [1]


def test_values_of_a_box() -> None:
    env = Corridor()
    one = body(env, actions={"go": [[0.5, -1.0]]})
    one.begin(0)
    do(one, "go")
    assert env.done[0].dtype == np.float32
    assert env.done[0].tolist() == [0.5, -1.0]


def test_cameras() -> None:
    class Keyed(Corridor):
        def render(self) -> Any:
            return {"chest": super().render(), "depth": np.zeros((6, 8), np.float32)}

    assert body(Keyed(), camera="chest").begin(0).pixels.shape == (6, 8, 3)
    assert body(Corridor(), camera="render").begin(0).pixels.shape == (6, 8, 3)
    with pytest.raises(UserError, match="has no 'head'; correct `camera`"):
        body(Keyed(), camera="head").begin(0)
    with pytest.raises(UserError, match=r"gives float32 \(6, 8\), expected uint8"):
        body(Keyed(), camera="depth").begin(0)


def test_what_a_simulator_says_is_not_ours(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def greeting() -> Corridor:
        print("Welcome!")
        return Corridor()

    monkeypatch.setattr(gymnasium, "greeting", greeting, raising=False)
    assert isinstance(open_env(Config(env="gymnasium:greeting")), Corridor)
    assert capsys.readouterr() == ("", "Welcome!\n")


@pytest.mark.parametrize(
    ("env", "says"),
    [
        ("", "there is no environment"),
        ("Nothing-v0", "Nothing-v0 cannot be made"),
        ("no_such_module:Thing", "needs no_such_module; install it"),
        ("no_such_module:Thing-v0", "needs no_such_module; install it"),
        ("gymnasium.spaces:Nothing", "cannot be made"),
    ],
)
def test_an_environment_that_cannot_be_made_is_one_sentence(env: str, says: str) -> None:
    with pytest.raises(UserError, match=says):
        open_env(Config(env=env))
