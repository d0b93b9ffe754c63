"""What was asked and what became of it: the one shape in which runs are compared.

It knows neither trials nor bundles: recorded or replayed, a run is its exchanges in order.
"""

from __future__ import annotations

from typing import Literal

import msgspec

Clock = Literal["device", "table"]


class Exchange(msgspec.Struct, frozen=True, kw_only=True):
    """A question or instruction, and its answer, or the `reason` why there is none (`answer` None).

    `ask` is its number within the trial, `question_id` the asker's name for it; an instruction has
    none. `frames` are the ids of the frames that the model saw, oldest first; the newest is `index`
    of `source`. `timing` is milliseconds by stage.
    """

    question: str
    answer: str | None = None
    ask: str = ""
    question_id: str | None = None
    reason: str = ""
    frames: tuple[int, ...] = ()
    source: str = ""
    index: int | None = None
    confidence: float | None = None
    late: bool = False
    timing: dict[str, float] = {}


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """What one build said, in order.

    `clock` says where the timing is from: the device's own clock, or the bundle's table of what a
    step costs, by which a replay's time moves.
    """

    name: str
    model: str
    model_hash: str
    exchanges: tuple[Exchange, ...]
    clock: Clock = "device"
