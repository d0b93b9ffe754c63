"""What a run would have recorded of what a brain says now: the events, and what was published.

It knows asks, answers and how they are written to a trial; it does not know brains or files. The
front's own messages are not made again: what it says of cameras and processes is no model's doing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import msgspec

from otter_robots.envelope import seal
from otter_robots.messages import Abstain, Answer, Message
from otter_robots.topics import ANSWER, DELTA, Topic
from otter_runtime.answers import abstained, answered, grown
from otter_runtime.config import RunConfig
from otter_runtime.quiet import Quiet
from otter_runtime.replayed import Told
from otter_runtime.trials.channels import PUBLISHED, channels, enveloped, published, told
from otter_runtime.trials.trial import Record
from otter_runtime.wire import Ask, Declined, Event, Piece, Ready, Said

ABSTAIN = published(Abstain)


class Echo:
    """The front of one replay: what it publishes is of the recorded run's epoch, and a replay."""

    def __init__(self, config: RunConfig, ahead_ns: int, seen: bool) -> None:
        """`ahead_ns` is the trial's clock less the monotonic one.

        With `seen`, what was declined in the field is not asked again.
        """
        self._seen = seen
        self._config, self._ahead_ns = config, ahead_ns
        self._epoch = ""
        self._quiet = Quiet(config.standing.quiet, config.standing.repeat)
        self._asks: dict[str, Ask] = {}
        self._questions: set[str | None] = set()
        self._seqs: Counter[str] = Counter()
        self._model_hash = ""

    def asked(self, ask: Ask) -> None:
        """The brain was given this."""
        self._asks[ask.id] = ask
        self._questions.add(ask.question_id)

    def again(self, record: Record) -> Record | None:
        """What the front said by itself: that a question cannot be put to the brain just now."""
        if not self._epoch and record.topic in PUBLISHED:
            self._epoch = record.fields["epoch"]
        if record.topic != ABSTAIN or not self._own(record.fields):
            return None
        self._seqs[ANSWER.name] += 1
        said = record.fields | {"seq": self._seqs[ANSWER.name], "origin": "replay"}
        return replace(record, data=msgspec.json.encode(said))

    def _own(self, said: dict[str, Any]) -> bool:
        if said["question_id"] is None:
            return self._seen and said["reason"] != "stale"
        return said["question_id"] not in self._questions

    def hear(self, said: Told) -> Iterator[Record]:
        """The event as it is recorded, and what is published of it; `order` is 0."""
        at_ns, event = said
        topic = told(type(event))
        if topic in channels():
            yield self._record(topic, at_ns, msgspec.json.encode(event))
        if isinstance(event, Ready):
            self._model_hash = event.model_hash
        published_as = self._message(event, at_ns)
        if published_as is not None:
            yield self._published(*published_as, at_ns)

    def _message(self, event: Event, at_ns: int) -> tuple[Topic, Message] | None:
        if not isinstance(event, (Said, Declined, Piece)):
            return None
        if isinstance(event, Piece):
            ask = self._asks.get(event.id)
            heard = ask is not None and not (ask.standing and self._quiet.listens)
            return (DELTA, grown(ask, event)) if ask and heard else None
        ask = self._asks.pop(event.id, None)
        if ask is None:
            return None
        if isinstance(event, Declined):
            return ANSWER, abstained(ask, event.reason, event.detail)
        message = answered(ask, event, at_ns, self._model_hash, self._config)
        silent = ask.standing and isinstance(message, Answer) and self._quiet.holds_back(message)
        return None if silent else (ANSWER, message)

    def _published(self, topic: Topic, message: Message, at_ns: int) -> Record:
        self._seqs[topic.name] += 1
        sealed = seal(
            message,
            topic=topic.name,
            epoch=self._epoch,
            seq=self._seqs[topic.name],
            ttl_ms=getattr(message, "ttl_ms", None),
        )
        envelope = msgspec.structs.replace(
            sealed, mono_ns=at_ns, wall_ns=at_ns + self._ahead_ns, origin="replay"
        )
        return self._record(published(type(message)), at_ns, enveloped(envelope, message))

    def _record(self, topic: str, at_ns: int, data: bytes) -> Record:
        return Record(0, topic, at_ns + self._ahead_ns, at_ns, data)
