"""Who talks with people: turn by turn listen, do what was said, and say what comes back.

The ear hears nothing while the mouth speaks, and what it heard meanwhile is dropped. Questions are
asked by a thread of their own, so that a stop is heard while one is being thought about.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from otter_robots.adapters.asker import Asker, Reply
from otter_robots.adapters.entry import Events
from otter_robots.client import Client
from otter_robots.connection import ORDER_TTL_MS, STOP_TTL_MS
from otter_robots.messages import Abstain, Answer
from otter_runtime.audio.conversation import Act, Ask, Conversation, Heard, Ignore, Order, Say
from otter_runtime.audio.phrases import Phrase
from otter_runtime.audio.plans import Plans
from otter_runtime.errors import OtterError

PATIENCE_S = 0.1
NO_ANSWER = "I have no answer at the moment."


class Hearing(Protocol):
    """An ear; `ear` has two."""

    @property
    def hearing(self) -> bool:
        """Whether somebody is speaking just now."""

    def listen(self, patience_s: float, expected: frozenset[str], /) -> Heard | None:
        """What was said, as one of what is expected."""

    def drop(self) -> None:
        """Forget what was heard until now."""


class Attendant:
    """`say` speaks and returns when it was said; `plans` is given where they are spoken too."""

    def __init__(
        self,
        ear: Hearing,
        say: Callable[[str], None],
        conversation: Conversation,
        bus: Client,
        asker: Asker,
        events: Events,
        plans: Plans | None = None,
    ) -> None:
        self._ear, self._mouth, self._conversation = ear, say, conversation
        self._bus, self._asker, self._events, self._plans = bus, asker, events, plans

    @property
    def idle(self) -> bool:
        """Whether no answer is awaited."""
        return not self._asker.busy

    def turn(self) -> None:
        """Listen for a moment, then do and say what there is."""
        heard = self._ear.listen(PATIENCE_S, self._conversation.expected)
        for act in self._acts(heard):
            self._carry_out(act)
        if not self._ear.hearing:
            self._speak_up()

    def say(self, text: str) -> None:
        """Say it; a loudspeaker that is lost is told, and nothing else stops for it."""
        self._events("said", text=text)
        try:
            self._mouth(text)
        except OtterError as error:
            self._events("loudspeaker-lost", why=str(error))
        self._ear.drop()
        if self._plans is not None:
            self._plans.spoke()
        self._events("listening")

    def _acts(self, heard: Heard | None) -> list[Act]:
        if heard is None:
            return [] if self._ear.hearing else self._conversation.wait(time.monotonic())
        self._events("heard", words=heard.words, score=round(heard.score, 2))
        return self._conversation.hear(heard)

    def _carry_out(self, act: Act) -> None:
        if isinstance(act, Say):
            self.say(act.text)
        elif isinstance(act, Ignore):
            self._events("ignored", why=act.why)
        elif isinstance(act, Order):
            self._order(act.phrase)
        else:
            self._ask(act)

    def _ask(self, act: Ask) -> None:
        if self._asker.ask(act.question):
            self._events("asked", question=act.question)
        else:
            self.say("One moment, please.")

    def _order(self, phrase: Phrase) -> None:
        try:
            self._publish(phrase)
        except OtterError as error:
            self._events("not-ordered", why=str(error))
            self.say("Nobody took the order. Use the switch." if phrase.command else "It failed.")
        else:
            self._events("ordered", **_named(phrase))
            self.say("Stopped." if phrase.stops else "Done.")

    def _publish(self, phrase: Phrase) -> None:
        if phrase.instruct is not None:
            self._bus.instruct(phrase.instruct, phrase.interval_s)
        elif phrase.command is not None:
            ttl_ms = STOP_TTL_MS if phrase.stops else ORDER_TTL_MS
            self._bus.command(phrase.command, phrase.arguments, ttl_ms)

    def _speak_up(self) -> None:
        reply = self._asker.reply()
        if reply is not None:
            self.say(self._told(reply))
        plan = self._plans.next() if self._plans is not None else None
        if plan is not None:
            self.say(wording(plan))

    def _told(self, reply: Reply) -> str:
        if reply.said is None:
            self._events("unanswered", question=reply.question, why=reply.error)
            return "The assistant does not answer."
        _, message = reply.said
        if isinstance(message, Abstain):
            self._events("abstained", reason=message.reason, detail=message.detail)
        else:
            self._events("answered", question=reply.question, text=message.text)
        return wording(message)


def wording(message: Answer | Abstain) -> str:
    """How a reply is said."""
    if isinstance(message, Abstain):
        blind = message.reason.startswith("camera")
        return "I cannot see at the moment." if blind else NO_ANSWER
    if not message.text.strip():
        return NO_ANSWER
    if message.late:
        return f"{message.age_ms / 1000:.0f} seconds ago: {message.text}"
    return message.text


def _named(phrase: Phrase) -> dict[str, object]:
    if phrase.instruct is not None:
        return {"instruction": phrase.instruct}
    return {"command": phrase.command, "arguments": dict(phrase.arguments)}
