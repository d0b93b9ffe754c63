"""Which of the standing instruction's answers are worth saying: the newest, while it is valid.

Answers come faster than they can be said; what was said last is not said again. It knows the bus,
not the loudspeaker.
"""

from __future__ import annotations

import time

from otter_robots.client import Client
from otter_robots.messages import Abstain, Answer
from otter_robots.topics import ANSWER
from otter_robots.transit import Transit

# Time to be heard in: while a plan is being said nobody is.
PAUSE_S = 3.0


class Plans:
    """Subscribes at once; `next` never waits."""

    def __init__(self, bus: Client) -> None:
        self._bus = bus
        self._transit = Transit()
        self._newest: tuple[Answer | Abstain, float] | None = None  # and until when it is valid
        self._said: Answer | Abstain | None = None
        self._from_s = 0.0
        bus.subscribe([ANSWER])

    def next(self) -> Answer | Abstain | None:
        """What to say now, once; None where there is nothing new."""
        while (came := self._bus.receive(0)) is not None:
            envelope, message = came
            waited_s = self._transit.waited_s(
                envelope.epoch, envelope.mono_ns / 1e9, time.monotonic()
            )
            if envelope.origin == "live" and isinstance(message, (Answer, Abstain)):
                self._take(message, waited_s)
        if self._newest is None or time.monotonic() < self._from_s:
            return None
        (message, until_s), self._newest = self._newest, None
        if time.monotonic() > until_s or _same(message, self._said):
            return None
        self._said = message
        return message

    def spoke(self) -> None:
        """Something was said until now; a pause follows."""
        self._from_s = time.monotonic() + PAUSE_S

    def _take(self, message: Answer | Abstain, waited_s: float) -> None:
        if message.question_id is not None or (isinstance(message, Answer) and message.late):
            return  # somebody's question has an answer of its own
        left_s = float("inf")
        if isinstance(message, Answer):
            left_s = (message.ttl_ms - message.age_ms) / 1000 - waited_s
        self._newest = message, time.monotonic() + left_s


def _same(one: Answer | Abstain, other: Answer | Abstain | None) -> bool:
    if isinstance(one, Answer) and isinstance(other, Answer):
        return one.text == other.text
    return isinstance(one, Abstain) and isinstance(other, Abstain) and one.reason == other.reason
