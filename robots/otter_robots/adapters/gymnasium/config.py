"""What the gymnasium adapter can be told; defaults here, overridden by a YAML file.

It knows names and bounds; it does not know any environment.
"""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta, Struct

from otter_robots.guard import SILENT_S
from otter_robots.skills import Skills

# What `env.step` takes: a number of a Discrete space, or the values of a Box.
Action = int | tuple[float, ...]
Plan = Annotated[tuple[Action, ...], Meta(min_length=1, max_length=1000)]


class Detour(Struct, frozen=True, kw_only=True):
    """What to do when a skill gets nowhere: when it leaves the picture as it was, as an obstacle
    does, or where `after` is set, when it was done so many times in a row.

    The first of `plans` is carried out until it meets an obstacle itself; then the next one's turn
    comes.
    """

    plans: Annotated[tuple[Plan, ...], Meta(min_length=1)]
    after: Annotated[int, Meta(ge=2)] | None = None


class Config(Struct, frozen=True, kw_only=True):
    """Everything about one environment.

    `env` is a gymnasium id or `module:Class`, made with `kwargs`. Its frames come `rate_hz` times
    a second of its own time, `camera` says where from: the observation, one key of it, or
    `render`. `question` is asked about each, its braces filled from `reset`'s info.

    `skills` declares what the model may answer; with `offer` it is told so, and can say nothing
    else. `actions` is what each of them is in this environment, a step each; `detours` what follows
    where one of them gets nowhere. `hold` is what standing still is, done where an answer was
    refused, there was none, or it says to do nothing. `silent_s` without the runtime's heartbeat
    stop the robot for good; in a simulator that waits for every answer it may be long.
    """

    env: str = ""
    kwargs: dict[str, Any] = {}
    camera: str = ""
    rate_hz: Annotated[float, Meta(ge=0.1, le=1000)] = 4.0
    question: str = "What should I do next?"
    timeout_s: Annotated[float, Meta(gt=0, le=3600)] = 30.0
    silent_s: Annotated[float, Meta(gt=0, le=3600)] = SILENT_S
    skills: Skills | None = None
    offer: bool = False
    actions: dict[str, Plan] = {}
    detours: dict[str, Detour] = {}
    hold: Plan | None = None
