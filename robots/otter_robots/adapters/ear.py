"""What of the bus concerns a robot now: live, in time, and said to it.

It stands before every adapter that listens: a recording played back, an answer whose time has
passed and the answer to somebody else's question go no further. It knows the bus, not the robot.
"""

from __future__ import annotations

import time
from typing import NamedTuple

from otter_robots.adapters.asker import Asker
from otter_robots.adapters.entry import Events
from otter_robots.client import Client
from otter_robots.envelope import Envelope
from otter_robots.guard import Guard, Refused, Step
from otter_robots.messages import Abstain, Answer, Message
from otter_robots.topics import ANSWER, COMMAND, FAULT, HEALTH
from otter_robots.transit import Transit


class Heard(NamedTuple):
    """A message, and for how many more seconds an Answer is valid (for ever otherwise)."""

    message: Message
    envelope: Envelope | None = None
    left_s: float = float("inf")


class Ear:
    """Listens with `bus` and to what `asker` asked; the guard, where there is one, hears it all."""

    def __init__(self, bus: Client, asker: Asker, guard: Guard | None, events: Events) -> None:
        self.bus, self.asker, self.guard, self.events = bus, asker, guard, events
        self._transit = Transit()
        bus.subscribe([ANSWER, COMMAND, FAULT, HEALTH])

    def listen(self, patience_s: float) -> list[Heard]:
        """What came within `patience_s`, oldest first."""
        heard = [self._asked(), self._published(patience_s)]
        return [one for one in heard if one is not None]

    def step(self, heard: Heard) -> Step | None:
        """What the guard lets the robot do for an answer; None where it refuses, which is told.

        None as well where there is no guard: a robot without declared skills does nothing.
        """
        if self.guard is None or heard.envelope is None or not isinstance(heard.message, Answer):
            return None
        try:
            return self.guard.check(heard.envelope, heard.message)
        except Refused as why:
            self.events("refused", why=str(why), seq=heard.envelope.seq)
            return None

    def _published(self, patience_s: float) -> Heard | None:
        came = self.bus.receive(patience_s)
        if came is None:
            return None
        envelope, message = came
        if self.guard is not None:
            self.guard.hear(envelope, message)
        if envelope.origin != "live":
            self.events("refused", why="it is from a recording", seq=envelope.seq)
            return None
        # The answer to our own question comes from the asker, all others are somebody else's.
        return None if getattr(message, "question_id", None) else self._in_time(envelope, message)

    def _asked(self) -> Heard | None:
        reply = self.asker.reply()
        if reply is None:
            return None
        if reply.said is None:
            self.events("unanswered", question=reply.question, why=reply.error)
            return Heard(Abstain(reason="unanswered", detail=f"not told: {reply.question}"))
        return self._in_time(*reply.said)

    def _in_time(self, envelope: Envelope, message: Message) -> Heard | None:
        waited_s = self._transit.waited_s(envelope.epoch, envelope.mono_ns / 1e9, time.monotonic())
        if not isinstance(message, Answer):
            return Heard(message, envelope)
        left_s = (message.ttl_ms - message.age_ms) / 1000 - waited_s
        if message.late or left_s <= 0:
            self.events("refused", why="its time has passed", seq=envelope.seq)
            return None
        return Heard(message, envelope, left_s)
