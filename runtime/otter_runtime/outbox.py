"""What is said, in order: onto the disk first, then out.

It knows the journal and how messages are sealed; how one is sent it is given. What is said within
a `batch` is one transaction and one sync of the disk, so that a slow card does not decide how many
answers a second there are, and goes out in order once that is done. Where the run is recorded, a
scribe puts the same messages on the disk meanwhile.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import msgspec

from otter_robots.envelope import Envelope, containing, seal
from otter_robots.messages import Fault, Message
from otter_robots.topics import FAULT, Topic
from otter_runtime.errors import JournalError
from otter_runtime.journal import Journal
from otter_runtime.scribe import NOBODY, go_on

# What the envelope of a reply has for a topic, unless it was published as well.
REPLY = "reply"

Send = Callable[[Envelope, bytes], None]
Answer = Callable[[bytes, Envelope, Iterable[bytes]], None]
Tell = Callable[[Envelope, Message], None]


@dataclass(frozen=True)
class Publication:
    """A message on its way to the stream."""

    topic: Topic
    message: Message
    envelope: Envelope
    blob: bytes


@dataclass(frozen=True)
class Reply:
    """An envelope on its way to the peer that asked; it may be a publication's."""

    peer: bytes
    to: int  # the seq of the request
    envelope: Envelope
    parts: Iterable[bytes]


class Outbox:
    """Everything that a runtime says in one epoch.

    `send` puts a message on the stream and `answer` hands a reply to a peer; `tell` hears of each
    message as it was sent. `journal_ok` is whether the journal took the last one. `scribe` hears
    of each message before it is sent.
    """

    def __init__(self, epoch: str, journal: Journal, send: Send, answer: Answer) -> None:
        self.epoch = epoch
        self.journal_ok = True
        self.tell: Tell = _nobody
        self.scribe = NOBODY.publications
        self._journal, self._send, self._answer = journal, send, answer
        self._seqs: Counter[str] = Counter()
        self._waiting: list[Publication | Reply] = []
        self._batching = False

    def publish(self, topic: Topic, message: Message, blob: bytes = b"") -> Envelope:
        """Say it on the stream, on disk first where the topic is journalled; gives the envelope.

        When the journal fails, the message goes out all the same with `journalled=False`, and a
        Fault `journal` says so, once until it works again. In a batch that is not known yet: the
        envelope given is the one it has if all goes well, and a reply with it follows what became
        of it.
        """
        if not isinstance(message, topic.messages):
            raise TypeError(f"topic {topic.name} does not carry {type(message).__name__}")
        if topic.journalled:
            message = msgspec.structs.replace(message, journalled=True)
        publication = Publication(topic, message, self._sealed(topic.name, message), blob)
        return self._put(publication).envelope

    def reply(
        self, peer: bytes, to: int, message: Message | Envelope, parts: Iterable[bytes] = ()
    ) -> None:
        """Say it to the peer whose request had the seq `to`, after what was said before."""
        sealed = message if isinstance(message, Envelope) else self._sealed(REPLY, message)
        self._put(Reply(peer, to, sealed, parts))

    @contextlib.contextmanager
    def batch(self) -> Iterator[None]:
        """What is said within goes out at its end, whatever ends it; a batch within joins it."""
        outer, self._batching = self._batching, True
        try:
            yield
        finally:
            self._batching = outer
            if not outer:
                self._flush()

    def _sealed(self, topic: str, message: Message) -> Envelope:
        self._seqs[topic] += 1
        ttl_ms = None if topic == REPLY else getattr(message, "ttl_ms", None)
        seq = self._seqs[topic]
        return seal(message, topic=topic, epoch=self.epoch, seq=seq, ttl_ms=ttl_ms)

    def _put(self, one: Publication | Reply) -> Publication | Reply:
        self._waiting.append(one)
        return one if self._batching else self._flush()[0]

    def _flush(self) -> list[Publication | Reply]:
        waiting, self._waiting = self._waiting, []
        recorded = [one for one in waiting if isinstance(one, Publication) and one.topic.journalled]
        # While the journal works both syncs overlap. In the turn in which it fails the scribe has
        # "journalled" already, and the Fault behind it says otherwise.
        handed = [self._hand_over(waiting)] if self.journal_ok else []
        failure = self._record(recorded)
        if failure:
            waiting = _unrecorded(waiting)
        if not handed:
            handed.append(self._hand_over(waiting))
        if recorded and self.journal_ok == bool(failure):
            self.journal_ok = not failure
            fault = self._fault(failure)
            handed.append(self._hand_over([fault]))
            waiting.append(fault)
        for wait in handed:
            wait()
        for one in waiting:
            if isinstance(one, Publication):
                self._send(one.envelope, one.blob)
            else:
                to_the_asker = msgspec.structs.replace(one.envelope, reply_to=one.to)
                self._answer(one.peer, to_the_asker, one.parts)
        for one in waiting:
            if isinstance(one, Publication):
                self.tell(one.envelope, one.message)
        return waiting

    def _hand_over(self, waiting: Sequence[Publication | Reply]) -> Callable[[], None]:
        said = [
            (one.envelope, one.message, one.topic.journalled)
            for one in waiting
            if isinstance(one, Publication)
        ]
        return self.scribe(said) if said else go_on

    def _record(self, publications: list[Publication]) -> JournalError | None:
        try:
            if publications:
                self._journal.append_all([(one.envelope, one.blob) for one in publications])
        except JournalError as error:
            return error
        return None

    def _fault(self, failure: JournalError | None) -> Publication:
        """Past the journal, which is what the fault is about."""
        detail = str(failure) if failure else "the journal works again"
        fault = Fault(code="journal", detail=detail, cleared=not failure)
        return Publication(FAULT, fault, self._sealed(FAULT.name, fault), b"")


def _nobody(envelope: Envelope, message: Message) -> None:
    """Tells nobody."""


def _unrecorded(waiting: list[Publication | Reply]) -> list[Publication | Reply]:
    """The same, where all that should be on disk is not, and says so; replies follow."""
    honest: list[Publication | Reply] = []
    changed: dict[tuple[str, int], Envelope] = {}
    for one in waiting:
        key = (one.envelope.topic, one.envelope.seq)
        if isinstance(one, Publication) and one.topic.journalled:
            message = msgspec.structs.replace(one.message, journalled=False)
            changed[key] = containing(one.envelope, message)
            honest.append(replace(one, message=message, envelope=changed[key]))
        elif isinstance(one, Reply):
            honest.append(replace(one, envelope=changed.get(key, one.envelope)))
        else:
            honest.append(one)
    return honest
