"""What the gymnasium adapter can be told; defaults here, overridden by a YAML file.

It knows names and bounds; it does not know any environment.
"""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta, Struct

from otter_robots.skills import Skills

# What `env.step` takes: a number of a Discrete space, or the values of a Box.
Action = int | tuple[float, ...]
Plan = Annotated[tuple[Action, ...], Meta(min_length=1, max_length=1000)]


class Config(Struct, frozen=True, kw_only=True):
    """Everything about one environment.

    `env` is a gymnasium id or `module:Class`, made with `kwargs`. Its frames come `rate_hz` times
    a second of its own time, `camera` says where from: the observation, one key of it, or
    `render`. `question` is asked about each, its braces filled from `reset`'s info.

    `skills` declares what the model may answer and `actions` what each of them is in this
    environment, a step each. A skill in `detours` that leaves the picture as it was met an
    obstacle: then its plans are carried out in turn. `hold` is what standing still is, done where
    an answer was refused or there was none.
    """

    env: str = ""
    kwargs: dict[str, Any] = {}
    camera: str = ""
    rate_hz: Annotated[float, Meta(ge=0.1, le=1000)] = 4.0
    question: str = "What should I do next?"
    timeout_s: Annotated[float, Meta(gt=0, le=3600)] = 30.0
    skills: Skills | None = None
    actions: dict[str, Plan] = {}
    detours: dict[str, tuple[Plan, ...]] = {}
    hold: Plan | None = None
