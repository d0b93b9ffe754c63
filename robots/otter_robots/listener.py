"""What a subscriber knows: what it heard, missed, recovered, and which page of history is due.

It has no sockets, so that the client and its asyncio twin share it: they hand over what arrives
and send what `due` gives them. It trusts nothing that it is handed; bytes that are no message are
counted in `hostile`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping

from otter_robots.envelope import Envelope, unpack
from otter_robots.errors import UserError, WireError
from otter_robots.messages import MOST, Ack, History, Lost, Message, Page
from otter_robots.recovery import OLDEST, Item, Place, Recovery
from otter_robots.sequence import Sequence
from otter_robots.topics import TOPICS, Topic

# A page that did not come within this is asked for again.
PAGE_TIMEOUT_S = 1.0
# Where nobody is connected to be asked, e.g. right after the start.
CONNECT_S = 0.1
# On a silent topic the last messages may be missing without a gap to show it.
IDLE_S = 1.0

Since = Mapping[str, Place | None] | Place


class Listener:
    """Messages heard and recovered wait for `give`; `places` are of those that were given."""

    def __init__(self) -> None:
        self.hostile = 0
        self.places: dict[str, Place] = {}
        self._ready: deque[Item] = deque()
        self.sequences: dict[str, Sequence] = {}
        self.heard_at_s: dict[str, float] = {}
        self.recoveries: dict[str, Recovery] = {}
        self._ask_at_s: dict[str, float] = {}
        self._asked: dict[int, str] = {}
        self._told: dict[str, int] = {}

    def recover(self, topics: Iterable[Topic], since: Since) -> None:
        """From now on these topics come without holes, starting after their places in `since`."""
        for name, place in _places(list(topics), since).items():
            if name not in self.recoveries:
                self.recoveries[name] = Recovery(name, place)
                self.places.update({name: place} if place else {})
                self._ask_at_s[name] = 0.0

    def hear(self, parts: list[bytes], now_s: float) -> None:
        """A message from the stream."""
        try:
            envelope, message = _from_stream(parts)
        except WireError:
            self.hostile += 1
            return
        topic = envelope.topic
        self.heard_at_s[topic] = now_s
        if not self.sequences.setdefault(topic, Sequence()).take(envelope.epoch, envelope.seq):
            return
        recovery = self.recoveries.get(topic)
        if recovery is None:
            self._ready.append((envelope, message))
            return
        was_behind = recovery.behind
        self._ready.extend(recovery.hear((envelope, message)))
        if not recovery.behind:
            self._ask_at_s[topic] = now_s + IDLE_S
        elif not was_behind:
            self._ask_at_s[topic] = now_s

    @property
    def ready(self) -> int:
        """How many messages wait for `give`."""
        return len(self._ready)

    def give(self) -> Item | None:
        """The next message, where one is ready.

        Its place is noted for those who start anew, unless the journal does not know it.
        """
        if not self._ready:
            return None
        envelope, message = self._ready.popleft()
        if envelope.topic in self.recoveries and getattr(message, "journalled", True):
            self.places[envelope.topic] = Place(envelope.epoch, envelope.seq)
        return envelope, message

    def due(self, now_s: float) -> list[History]:
        """The pages to ask for now."""
        return [self._history(name) for name, at_s in self._ask_at_s.items() if at_s <= now_s]

    def wait_s(self, now_s: float) -> float | None:
        """How long until a page is due; None where nothing is recovered."""
        return max(0.0, min(self._ask_at_s.values()) - now_s) if self._ask_at_s else None

    def asked(self, history: History, seq: int | None, now_s: float) -> None:
        """It was asked for as request `seq`, or nobody is there to be asked (None)."""
        if seq is None:
            self._ask_at_s[history.topic] = now_s + CONNECT_S
            return
        self._ask_at_s[history.topic] = now_s + PAGE_TIMEOUT_S
        self._told[history.topic] = self._told.get(history.topic, 0) + history.missed
        self._asked = {s: name for s, name in self._asked.items() if name != history.topic}
        self._asked[seq] = history.topic

    def take(self, parts: list[bytes], now_s: float) -> bool:
        """A reply; whether it was one to a page that was asked for here, so nobody else's.

        Raises UserError where the runtime refuses history altogether.
        """
        try:
            envelope, message = unpack(parts[0])
            name = self._asked.pop(-1 if envelope.reply_to is None else envelope.reply_to, None)
            if name is None:
                return False
            if isinstance(message, Page):
                self._read(name, message, _items(message, parts[1:]), now_s)
            elif isinstance(message, Ack) and not message.ok:
                self._refused(name, message, now_s)
        except WireError:
            self.hostile += 1
            return False
        return True

    def _read(self, name: str, page: Page, items: list[Item], now_s: float) -> None:
        if any(envelope.topic != name for envelope, _ in items):
            raise WireError(f"a page of {name} has messages of another topic")
        recovery = self.recoveries[name]
        self._ready.extend(recovery.read(items, page.more))
        self._ask_at_s[name] = now_s if recovery.behind else now_s + IDLE_S

    def _refused(self, name: str, ack: Ack, now_s: float) -> None:
        if ack.retry_ms is None:
            raise UserError(f"the runtime refused the history of {name}: {ack.detail}")
        self._ask_at_s[name] = now_s + min(ack.retry_ms, 10_000) / 1000

    def _history(self, name: str) -> History:
        place = self.recoveries[name].place or OLDEST
        sequence = self.sequences.get(name)
        missed = (sequence.lost if sequence else 0) - self._told.get(name, 0)
        return History(topic=name, epoch=place.epoch, seq=place.seq, missed=min(missed, MOST))


def _places(topics: list[Topic], since: Since) -> dict[str, Place | None]:
    journalled = {topic.name for topic in topics if topic.journalled}
    if not isinstance(since, Place):
        unknown = sorted(set(since) - journalled)
        if unknown:
            raise UserError(
                f"{', '.join(unknown)} cannot be recovered: not journalled, or not subscribed to; "
                f"leave it out of `since`, which may have {', '.join(sorted(journalled))}"
            )
        return dict(since)
    if since != OLDEST and len(journalled) != 1:
        raise UserError(
            f"a place belongs to one topic and {len(journalled)} are journalled; "
            "give since={topic name: place}"
        )
    return dict.fromkeys(sorted(journalled), since)


def _from_stream(parts: list[bytes]) -> Item:
    if len(parts) < 2:
        raise WireError(f"{len(parts)} parts, a message has a topic and an envelope")
    envelope, message = _published(parts[1])
    topic = TOPICS[envelope.topic]
    if envelope.origin == "replay" and parts[0] == topic.replayed.wire:
        return envelope, message
    if isinstance(message, Lost) or parts[0] != topic.wire:
        raise WireError(f"{envelope.schema} does not belong to topic {parts[0]!r}")
    return envelope, message


def _items(page: Page, parts: list[bytes]) -> list[Item]:
    if len(parts) != 2 * page.count:
        raise WireError(f"a page of {page.count} messages has {len(parts)} parts")
    return [_published(data) for data in parts[::2]]


def _published(data: bytes) -> tuple[Envelope, Message]:
    envelope, message = unpack(data)
    topic = TOPICS.get(envelope.topic)
    if topic is None or not isinstance(message, (*topic.messages, Lost)):
        raise WireError(f"{envelope.schema} does not belong to topic {envelope.topic!r}")
    return envelope, message


def snapshot_items(parts: list[bytes]) -> list[Item]:
    """The messages of a Snapshot's page; raises WireError."""
    _, page = unpack(parts[0])
    if not isinstance(page, Page):
        raise WireError(f"{type(page).__name__} is no page")
    return _items(page, parts[1:])
