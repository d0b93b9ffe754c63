"""One topic's way through stream and history: every message once, in order, then what is lost.

It knows places and pages, no sockets and no clock: whoever has them feeds what was heard to `hear`
and what was read to `read`, and asks for a page after `place` while `behind` is true.
"""

from __future__ import annotations

from typing import NamedTuple

from otter_robots.envelope import Envelope, seal
from otter_robots.messages import Lost, Message

Item = tuple[Envelope, Message]


class Place(NamedTuple):
    """Which message of a topic: its publisher's epoch and its seq."""

    epoch: str
    seq: int


# Before everything that is kept.
OLDEST = Place("", 0)


class Recovery:
    """Where a subscriber is in one topic.

    `place` is that of the last message given out, None before the first.
    """

    def __init__(self, topic: str, since: Place | None) -> None:
        self.topic = topic
        self.place = since
        self.behind = since is not None
        self.recovered = 0
        self.lost = 0
        self._held: Item | None = None  # heard, not given out yet: something may come before it
        self._retired: set[str] = set()

    def hear(self, item: Item) -> list[Item]:
        """What to give out now that this came from the stream; nothing while it has to wait."""
        envelope, _ = item
        if self._past(envelope):
            return []
        if not self.behind and self._next(envelope):
            return [self._give(item)]
        # The newest is held: what was heard before it is read from the history.
        self._held, self.behind = item, True
        return []

    def read(self, page: list[Item], more: bool) -> list[Item]:
        """What to give out now that this page was read after `place`."""
        given: list[Item] = []
        for item in page:
            if self._passes_held(item[0]):
                return given + self._caught_up()
            if not self._past(item[0]):
                given.append(self._give(item))
                self.recovered += not isinstance(item[1], Lost)
        if more:
            return given
        return given + self._caught_up()

    def _caught_up(self) -> list[Item]:
        """The history has no more before what is held; what is still missing then is lost."""
        self.behind = False
        item, self._held = self._held, None
        if item is None or self._past(item[0]):
            return []
        before = self._before(item[0])
        return [*([self._give(before)] if before else []), self._give(item)]

    def _before(self, envelope: Envelope) -> Item | None:
        """The Lost that stands for what is between `place` and this."""
        known = self.place.seq if self.place and self.place.epoch == envelope.epoch else 0
        count = envelope.seq - known - 1
        if not count or not self.place or self.place == OLDEST:
            return None
        lost = Lost(topic=self.topic, count=count)
        seq = envelope.seq - 1
        return seal(lost, topic=self.topic, epoch=envelope.epoch, seq=seq), lost

    def _passes_held(self, envelope: Envelope) -> bool:
        """Whether what is held comes no later than this."""
        held = self._held[0] if self._held else None
        if held is None:
            return False
        if envelope.epoch == held.epoch:
            return envelope.seq >= held.seq
        return self.place is not None and self.place.epoch == held.epoch

    def _past(self, envelope: Envelope) -> bool:
        if envelope.epoch in self._retired:
            return True
        return (
            self.place is not None
            and self.place.epoch == envelope.epoch
            and envelope.seq <= self.place.seq
        )

    def _next(self, envelope: Envelope) -> bool:
        return self.place is None or self.place == (envelope.epoch, envelope.seq - 1)

    def _give(self, item: Item) -> Item:
        envelope, message = item
        if self.place and self.place.epoch not in ("", envelope.epoch):
            self._retired.add(self.place.epoch)
        self.place = Place(envelope.epoch, envelope.seq)
        if isinstance(message, Lost):
            self.lost += message.count
        return item
