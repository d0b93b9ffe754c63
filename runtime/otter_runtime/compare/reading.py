"""A run read from the messages of a trial, or of a replay, which has the same ones.

It knows what the brain was asked and said and what was published; it does not know files. Both
sides count: the brain's has the question of every answer, also of those that were not worth saying;
what was published says whether it was late, or too old to be said. A trial that was recorded from
the bus has the second alone.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from otter_robots.messages import Abstain, Answer, Status
from otter_runtime.compare.exchange import Clock, Exchange, Run
from otter_runtime.trials.channels import ordered, published, told
from otter_runtime.trials.trial import Record
from otter_runtime.wire import Ask, Declined, Ready, Said

Asker = tuple[str | None, str | None]  # a question's id, or an instruction

TOPICS = frozenset(
    [ordered(Ask), told(Said), told(Declined), told(Ready)]
    + [published(kind) for kind in (Answer, Abstain, Status)]
)


def run_of(name: str, records: Iterable[Record], clock: Clock = "device") -> Run:
    """What these messages tell of a run. Raises TrialError for one that cannot be read."""
    reader = Reader()
    for record in records:
        if record.topic in TOPICS:
            reader.hear(record.message)
    return Run(
        name=name,
        model=reader.model,
        model_hash=reader.model_hash,
        exchanges=tuple(reader.exchanges),
        clock=clock,
    )


class Reader:
    """Hears a run's messages in their order."""

    def __init__(self) -> None:
        self.model = self.model_hash = ""
        self._sure = False
        self._done: dict[object, Exchange] = {}  # by the ask's id, or a number of ours
        self._asks: dict[str, Ask] = {}
        self._unpublished: dict[Asker, list[str]] = {}

    @property
    def exchanges(self) -> list[Exchange]:
        """What came to an end, in that order."""
        return list(self._done.values())

    def hear(self, message: msgspec.Struct) -> None:
        """One more message."""
        if isinstance(message, (Ready, Status)):
            self._is(message)
        elif isinstance(message, Ask):
            self._asks[message.id] = message
            self._unpublished.setdefault(_asker(message), []).append(message.id)
        elif isinstance(message, Said) and message.id in self._asks:
            self._done[message.id] = _said(self._asks[message.id], message)
        elif isinstance(message, Declined) and message.id in self._asks:
            self._done[message.id] = _declined(self._asks[message.id], message.reason)
        elif isinstance(message, (Answer, Abstain)):
            self._published(message)

    def _is(self, message: Ready | Status) -> None:
        """Which model it is, by the brain's own word: a replay has its recording's Status."""
        if message.model_hash and (isinstance(message, Ready) or not self._sure):
            self.model, self.model_hash = message.model, message.model_hash
            self._sure = isinstance(message, Ready)

    def _published(self, message: Answer | Abstain) -> None:
        ask_id = self._ask_of(message)
        if ask_id is None:
            self._done[len(self._done)] = _alone(message)
            return
        known = self._done.get(ask_id) or _declined(self._asks[ask_id], "")
        self._done[ask_id] = _as_published(known, message)

    def _ask_of(self, message: Answer | Abstain) -> str | None:
        """The first ask that this can be the end of; those before it were not worth saying."""
        waiting = self._unpublished.get((message.question_id, message.instruction), [])
        for place, ask_id in enumerate(waiting):
            done = self._done.get(ask_id)
            if message.frame_ids == (done.frames if done else ()):
                waiting[: place + 1] = [one for one in waiting[:place] if one not in self._done]
                return ask_id
        return None


def _asker(ask: Ask) -> Asker:
    return (None, ask.text) if ask.standing else (ask.question_id, None)


def _said(ask: Ask, said: Said) -> Exchange:
    newest = said.stamps[-1]
    return Exchange(
        question=ask.text,
        answer=said.text,
        ask=ask.id,
        question_id=ask.question_id,
        frames=tuple(stamp.id for stamp in said.stamps),
        source=newest.source,
        index=newest.index,
        confidence=said.confidence,
        timing=said.timing,
    )


def _declined(ask: Ask, reason: str) -> Exchange:
    return Exchange(question=ask.text, ask=ask.id, question_id=ask.question_id, reason=reason)


def _as_published(known: Exchange, message: Answer | Abstain) -> Exchange:
    if isinstance(message, Answer):
        return msgspec.structs.replace(known, answer=message.text, late=message.late)
    return msgspec.structs.replace(known, answer=None, reason=message.reason)


def _alone(message: Answer | Abstain) -> Exchange:
    """What was published and never asked of the brain, or is all that was recorded."""
    question = message.instruction or f"question {message.question_id}"
    if isinstance(message, Abstain):
        return Exchange(
            question=question,
            question_id=message.question_id,
            reason=message.reason,
            frames=message.frame_ids,
        )
    return Exchange(
        question=question,
        answer=message.text,
        question_id=message.question_id,
        frames=message.frame_ids,
        source=message.source,
        index=message.source_index,
        confidence=message.confidence,
        late=message.late,
        timing=message.timing,
    )
