"""What the LeRobot adapter can be told; defaults here, overridden by a YAML file.

It knows names and bounds. What the wrapped robot is told stands in `config_otter.py`, as LeRobot's
own command line reads it.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

Seconds = Annotated[float, Meta(gt=0, le=86_400)]


class Config(Struct, frozen=True, kw_only=True):
    """Everything about one session.

    `skills` is the file that declares the tasks the policy was trained on: each one's sentence is
    the instruction that the policy gets. `goal` is asked every `every_s`; without it the runtime's
    standing instruction is followed. An answer among the tasks has to be said `agree` times in a
    row before the policy is told. Answers older than `max_age_ms` are not followed, whatever their
    ttl, nor those below `min_confidence`.
    """

    skills: str | None = None
    goal: Annotated[str, Meta(min_length=1, max_length=4096)] | None = None
    every_s: Seconds = 2.0
    timeout_s: Seconds = 30.0
    agree: Annotated[int, Meta(ge=1, le=100)] = 1
    max_age_ms: Annotated[float, Meta(gt=0)] | None = None
    min_confidence: Annotated[float, Meta(ge=0, le=1)] = 0.0
