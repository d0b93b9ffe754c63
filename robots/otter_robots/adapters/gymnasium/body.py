"""An environment as a robot's body: skills go in, frames come out, a step of its time each.

It knows gymnasium's protocol and the plans of the configuration; it does not know the bus, nor
why a skill was chosen. It looks at pictures only, never at what else the environment knows.
"""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from otter_robots.adapters.gymnasium.config import Action, Config, Detour
from otter_robots.errors import UserError

RENDER = "render"


@dataclass(frozen=True)
class Sight:
    """What there is after a step: a frame (height, width, 3) uint8 and the environment's word.

    `number` counts the frames of an episode from 0. `info` is for whoever keeps score.
    """

    number: int
    pixels: NDArray[np.uint8]
    reward: float
    over: bool
    info: dict[str, Any]

    def shows(self, other: Sight) -> bool:
        """Whether it is the very picture of `other`."""
        return np.array_equal(self.pixels, other.pixels)


class Body:
    """One environment, an episode at a time."""

    def __init__(self, config: Config, env: Any = None) -> None:
        """Raises UserError where the environment cannot be made, or has no such camera."""
        self.config = config
        self.env = open_env(config) if env is None else env
        self.sight = Sight(-1, np.zeros((0, 0, 3), np.uint8), 0.0, True, {})
        self._last, self._row = "", 0
        self._tried: dict[str, int] = {}

    def begin(self, seed: int) -> Sight:
        """Another episode; its first frame."""
        seen, info = self.env.reset(seed=seed)
        self._last, self._row, self._tried = "", 0, {}
        self.sight = Sight(0, self._frame(seen), 0.0, False, info)
        return self.sight

    def carry_out(self, skill: str) -> Iterator[Sight]:
        """The frames of doing `skill`, and of the way round what was in its way."""
        before = self.sight
        yield from self.follow(self.config.actions[skill])
        self._row = self._row + 1 if skill == self._last else 1
        self._last = skill
        if self._gets_nowhere(skill, before):
            yield from self._go_round(skill, self.config.detours[skill])
            self._row = 0

    def _gets_nowhere(self, skill: str, before: Sight) -> bool:
        detour = self.config.detours.get(skill)
        if detour is None:
            return False
        return self._row >= detour.after if detour.after else self.sight.shows(before)

    def _go_round(self, skill: str, detour: Detour) -> Iterator[Sight]:
        """The frames of a plan of `detour`; where it meets an obstacle, the next is tried later."""
        tried = self._tried.get(skill, 0)
        before, met = self.sight, False
        for sight in self.follow(detour.plans[tried % len(detour.plans)]):
            met, before = met or sight.shows(before), sight
            yield sight
        self._tried[skill] = tried + met

    def hold(self) -> Iterator[Sight]:
        """The frames of standing still."""
        yield from self.follow(self.config.hold or ())

    def follow(self, plan: Sequence[Action]) -> Iterator[Sight]:
        """The frame after each action of `plan`, until the episode is over."""
        for action in plan:
            if self.sight.over:
                return
            yield self._step(action)

    def _step(self, action: Action) -> Sight:
        done = np.asarray(action, np.float32) if isinstance(action, tuple) else action
        seen, reward, terminated, truncated, info = self.env.step(done)
        over, number = bool(terminated or truncated), self.sight.number + 1
        self.sight = Sight(number, self._frame(seen), float(reward), over, info)
        return self.sight

    def _frame(self, seen: Any) -> NDArray[np.uint8]:
        camera = self.config.camera
        if camera == RENDER:
            seen = self.env.render()
        elif camera:
            if not isinstance(seen, dict) or camera not in seen:
                raise UserError(f"the observation has no {camera!r}; correct `camera`")
            seen = seen[camera]
        frame = np.asarray(seen)
        if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3:
            raise UserError(
                f"the camera gives {frame.dtype} {frame.shape}, expected uint8 (height, width, 3); "
                f"set `camera` to a key of the observation, or to {RENDER}"
            )
        return np.ascontiguousarray(frame)

    def close(self) -> None:
        """Let the environment go."""
        self.env.close()


def open_env(config: Config) -> Any:
    """The environment `config.env`, a gymnasium id or `module:Class`; raises UserError."""
    if not config.env:
        raise UserError("there is no environment; set `env` to a gymnasium id or module:Class")
    kwargs = dict(config.kwargs)
    if config.camera == RENDER:
        kwargs.setdefault("render_mode", "rgb_array")
    module, colon, name = config.env.partition(":")
    try:
        # Simulators greet on stdout, which is for our events.
        with contextlib.redirect_stdout(sys.stderr):
            # gymnasium's own `module:id` has a version, a class cannot.
            if colon and "-v" not in name:
                return getattr(importlib.import_module(module), name)(**kwargs)
            return gymnasium.make(config.env, **kwargs)
    except ModuleNotFoundError as error:
        raise UserError(
            f"{config.env} needs {error.name or module}; install it, or correct env"
        ) from error
    except (AttributeError, TypeError, gymnasium.error.Error) as error:
        raise UserError(f"{config.env} cannot be made ({error}); correct env or kwargs") from error
    except Exception as error:  # a simulator's own: no display, no GPU, no asset
        # A module of the simulator's, so it cannot be named here.
        if not type(error).__name__.startswith("NoSuchDisplay"):
            raise
        raise UserError(
            f"{config.env} wants a display ({error}); without one set PYGLET_HEADLESS=1"
        ) from error
