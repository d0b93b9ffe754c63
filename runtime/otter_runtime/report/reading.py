"""A trial read once, sorted by what a report asks of it.

It knows records and their structs; it does not know what is worth telling. Whatever cannot be read
is counted and left out: half a trial still has a report.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import msgspec

from otter_robots.messages import (
    Abstain,
    Answer,
    Command,
    Fault,
    Governor,
    Health,
    Question,
    Status,
)
from otter_runtime.errors import TrialError
from otter_runtime.trials.channels import Show, ordered, published, requested, told
from otter_runtime.trials.trial import Record, Trial
from otter_runtime.wire import Ask, Died, Ready, Shown

T = TypeVar("T", bound=msgspec.Struct)

# What is read: the topic in the file of each struct.
TOPICS: dict[str, type[msgspec.Struct]] = {
    **{
        published(kind): kind
        for kind in (Answer, Abstain, Command, Fault, Governor, Health, Status)
    },
    requested(Question): Question,
    ordered(Show): Show,
    ordered(Ask): Ask,
    **{told(kind): kind for kind in (Died, Ready, Shown)},
}


@dataclass(frozen=True)
class Moment(Generic[T]):
    """Something that was recorded, `at_s` seconds after the trial's first message."""

    at_s: float
    order: int
    what: T


class Clocks(msgspec.Struct, frozen=True):
    """Both clocks of an envelope, in nanoseconds."""

    mono_ns: int
    wall_ns: int


@dataclass
class Reading:
    """Moments by kind, in their order, and how long they took.

    `begun_ns` is the wall time of the first; `clocks` those of each heartbeat. `unread` messages
    are not what their schema says.
    """

    begun_ns: int = 0
    seconds: float = 0.0
    messages: int = 0
    unread: int = 0
    clocks: list[tuple[float, Clocks]] = field(default_factory=list)
    _moments: dict[type, list[Moment[msgspec.Struct]]] = field(
        default_factory=lambda: defaultdict(list)
    )

    def of(self, kind: type[T]) -> list[Moment[T]]:
        """All moments of one kind."""
        return self._moments[kind]  # type: ignore[return-value]

    def take(self, record: Record) -> None:
        """One record, in the order it happened."""
        self.begun_ns = self.begun_ns if self.messages else record.log_ns
        self.messages += 1
        at_s = max(0.0, (record.log_ns - self.begun_ns) / 1e9)
        self.seconds = max(self.seconds, at_s)
        kind = TOPICS.get(record.topic)
        if kind is None:
            return
        try:
            self._moments[kind].append(Moment(at_s, record.order, record.message))
            if kind is Health:
                self.clocks.append((at_s, msgspec.json.decode(record.data, type=Clocks)))
        except (TrialError, msgspec.MsgspecError, ValueError):
            self.unread += 1


def read(trial: Trial) -> Reading:
    """Everything that the report asks of a trial. Raises TrialError where no file is of one."""
    reading = Reading()
    for record in trial.records():
        reading.take(record)
    return reading
