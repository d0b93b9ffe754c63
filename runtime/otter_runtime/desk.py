"""The front's desk: every question and instruction from its arrival to its answer.

It knows the brain's events and the bus's messages; it does not know sources or processes. What
comes in leaves once: as an Answer or as an Abstain, published and, where somebody asked, replied.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

from otter_robots.envelope import Envelope
from otter_robots.messages import (
    DENIED,
    RESUME,
    STOP,
    Abstain,
    Ack,
    Cancel,
    Command,
    Instruct,
    Message,
    Question,
)
from otter_robots.topics import ANSWER, COMMAND, DELTA, Topic
from otter_runtime.answers import abstained, answered, grown
from otter_runtime.brain import Brain
from otter_runtime.bus import Bus, Request
from otter_runtime.config import RunConfig
from otter_runtime.errors import UserError
from otter_runtime.quiet import Quiet
from otter_runtime.sketch import unpacked
from otter_runtime.standing import Standing
from otter_runtime.vitals import Vitals
from otter_runtime.wire import Ask, Declined, Piece, Said, Shown

Publish = Callable[[Topic, Message], Envelope]
Why = tuple[str, str]  # a code and a sentence


class Pending(NamedTuple):
    """An ask that the brain has, and who asked; nobody did for the standing instruction."""

    ask: Ask
    request: Request | None = None


class Desk:
    """What was asked and is not answered yet. `publish` puts a message on the bus."""

    def __init__(
        self,
        config: RunConfig,
        bus: Bus,
        brain: Brain,
        standing: Standing,
        vitals: Vitals,
        publish: Publish,
        now_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self.config, self.bus, self.brain = config, bus, brain
        self.standing, self.vitals = standing, vitals
        self._publish, self._now_ns = publish, now_ns
        self._quiet = Quiet(config.standing.quiet, config.standing.repeat)
        self._pending: dict[str, Pending] = {}
        self._asked = 0

    @property
    def busy(self) -> bool:
        """Whether anything is not answered yet."""
        return bool(self._pending)

    # What is asked.

    def take(self, request: Request, why_not: Why | None, frame_id: int = 0) -> None:
        """A request from the bus; a question is declined where `why_not` says why.

        It is asked once the window has the frame `frame_id` or a later one.
        """
        message = request.message
        if refusal := _refusal(message):
            self.bus.reply(request, refusal)
            return
        if isinstance(message, Question):
            self.bus.reply(request, Ack())
            self._question(request, message, why_not, frame_id)
            return
        if isinstance(message, Instruct):
            self.standing.replace(message.text, message.interval_s, message.skills, message.when)
        elif isinstance(message, Command):
            self._command(message)
        elif isinstance(message, Cancel) and not self._cancel(message.question_id, request.key):
            detail = "that question is another client's"
            self.bus.refuse(request, Ack(ok=False, reason=DENIED, detail=detail))
            return
        self.bus.reply(request, Ack())

    def instruct(self, shown: Shown) -> None:
        """Ask the standing instruction where it is due, unless the last is not answered yet.

        It has until its newest frame would be too old.
        """
        stamp, seen = shown.stamp, unpacked(shown.sketch)
        asking = any(pending.ask.standing for pending in self._pending.values())
        if asking or not self.standing.due(stamp, seen):
            return
        self.standing.asked(stamp, seen)
        ask = Ask(
            id=self._next_id(),
            text=self.standing.text(stamp.scene),
            standing=True,
            deadline_ns=stamp.mono_ns + round(self.config.oldest_ms * 1e6),
            skills=self.standing.skills,
        )
        self._hand_over(Pending(ask))

    def _question(
        self, request: Request, question: Question, why_not: Why | None, frame_id: int
    ) -> None:
        deadline_ms = question.deadline_ms or self.config.deadline_ms
        ask = Ask(
            id=self._next_id(),
            text=question.text,
            question_id=question.id,
            priority=question.priority,
            deadline_ns=self._now_ns() + round(deadline_ms * 1e6),
            frame_id=frame_id,
            skills=question.skills,
            # Two clients that use the same name for theirs do not share it.
            conversation=question.conversation and f"{request.key} {question.conversation}",
        )
        if why_not:
            self._abstain(Pending(ask, request), *why_not)
        else:
            self._hand_over(Pending(ask, request))

    def _command(self, command: Command) -> None:
        self._publish(COMMAND, command)
        if command.name == STOP:
            self.standing.paused = True
            self._drop_standing()
        elif command.name == RESUME:
            self.standing.paused = False

    def _drop_standing(self) -> None:
        for ask_id, pending in self._pending.items():
            if pending.ask.standing:
                self.brain.drop(ask_id)

    def _cancel(self, question_id: str, key: str) -> bool:
        """False where it is only others who asked this."""
        found = {
            ask_id: pending.request.key == key
            for ask_id, pending in self._pending.items()
            if pending.request and pending.ask.question_id == question_id
        }
        for ask_id, own in found.items():
            if own:
                self.brain.drop(ask_id)
        return not found or any(found.values())

    def _hand_over(self, pending: Pending) -> None:
        self._pending[pending.ask.id] = pending
        self.brain.ask(pending.ask)

    def _next_id(self) -> str:
        self._asked += 1
        return str(self._asked)

    # What the brain says to it.

    def said(self, said: Said, model_hash: str) -> None:
        """An answer."""
        pending = self._pending.pop(said.id, None)
        if pending is None:
            return
        message = answered(pending.ask, said, self._now_ns(), model_hash, self.config)
        if isinstance(message, Abstain):
            self.vitals.abstained += 1
        elif pending.ask.standing and self._quiet.holds_back(message):
            self.vitals.quiet += 1
            return
        else:
            self.vitals.answers += 1
            self.vitals.late += message.late
        self._tell(pending, message)

    def piece(self, piece: Piece) -> None:
        """Some more of an answer."""
        pending = self._pending.get(piece.id)
        if pending is not None and not (pending.ask.standing and self._quiet.listens):
            self._publish(DELTA, grown(pending.ask, piece))

    def declined(self, declined: Declined) -> None:
        """No answer."""
        pending = self._pending.pop(declined.id, None)
        if pending is not None:
            self._abstain(pending, declined.reason, declined.detail)

    def abstain_all(self, reason: str, detail: str) -> None:
        """Nothing that is open will be answered."""
        pending, self._pending = self._pending, {}
        for one in pending.values():
            self._abstain(one, reason, detail)

    def _abstain(self, pending: Pending, reason: str, detail: str) -> None:
        self.vitals.abstained += 1
        self._tell(pending, abstained(pending.ask, reason, detail))

    def _tell(self, pending: Pending, message: Message) -> None:
        envelope = self._publish(ANSWER, message)
        if pending.request is not None:
            self.bus.reply(pending.request, envelope)


def _refusal(message: Message) -> Ack | None:
    """Why skills that were offered cannot be told apart or spoken of."""
    offer = message.skills if isinstance(message, (Question, Instruct)) else None
    try:
        if offer is not None:
            offer.check()
    except UserError as error:
        return Ack(ok=False, reason="skills", detail=str(error))
    return None
