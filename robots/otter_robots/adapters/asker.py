"""Asks without waiting: a thread with a bus client of its own has one question at a time.

It knows the bus, not the robot, whose loop goes on meanwhile and looks for `replies`.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import NamedTuple

from otter_robots.client import Client
from otter_robots.envelope import Envelope
from otter_robots.errors import OtterError
from otter_robots.guard import Guard
from otter_robots.messages import Abstain, Answer

# A question as the adapter wants it asked: it has the client for as long as it takes.
Ask = Callable[[Client, str], tuple[Envelope, Answer | Abstain]]


def asking(timeout_s: float, guard: Guard | None) -> Ask:
    """Ask so that the answer is one of the robot's skills, where it has any."""
    registry = None if guard is None else guard.registry
    return lambda bus, question: bus.ask_sealed(question, timeout_s, skills=registry)


class Reply(NamedTuple):
    """What became of a question: the reply as published, or why there is none in `error`."""

    question: str
    said: tuple[Envelope, Answer | Abstain] | None
    error: str = ""


class Asker:
    """`connect` makes the thread's client, `ask` puts a question to it.

    Every question has its Reply, whatever happens to it; after an error that is none of ours the
    next one is asked by a new client.
    """

    def __init__(self, connect: Callable[[], Client], ask: Ask) -> None:
        self._connect, self._ask = connect, ask
        self._bus: Client | None = None  # the thread's own
        self._questions: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._replies: queue.SimpleQueue[Reply] = queue.SimpleQueue()
        self.busy = False
        # A daemon: at the end nobody waits for an answer that is still being thought about.
        self._thread = threading.Thread(target=self._run, name="asker", daemon=True)
        self._thread.start()

    def ask(self, question: str) -> bool:
        """Ask, unless a question is still being answered; says whether it is asked."""
        if self.busy:
            return False
        self.busy = True
        self._questions.put(question)
        return True

    def reply(self) -> Reply | None:
        """What became of the question, once."""
        try:
            reply = self._replies.get_nowait()
        except queue.Empty:
            return None
        self.busy = False
        return reply

    def close(self) -> None:
        """End the thread, after the question that is being answered."""
        self._questions.put(None)

    def _run(self) -> None:
        while (question := self._questions.get()) is not None:
            self._replies.put(self._replied(question))
        self._hang_up()

    def _replied(self, question: str) -> Reply:
        try:
            self._bus = self._bus or self._connect()
            return Reply(question, self._ask(self._bus, question))
        except OtterError as error:
            return Reply(question, None, str(error))
        except Exception as error:
            # A robot that waits for ever would be worse than whatever this is; and a client that
            # raised it is in nobody knows which state.
            self._hang_up()
            return Reply(question, None, f"asking failed: {type(error).__name__}: {error}")

    def _hang_up(self) -> None:
        bus, self._bus = self._bus, None
        if bus is not None:
            bus.close()
