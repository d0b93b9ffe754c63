"""What was published before, on request: pages of the journal and the latest of every topic.

It knows the journal and what a page may cost; it does not know sockets.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Iterator

from otter_robots.envelope import Envelope, pack, seal
from otter_robots.messages import MOST, Ack, History, Lost, Page
from otter_robots.topics import TOPICS
from otter_runtime.errors import JournalError
from otter_runtime.journal import Journal, Row
from otter_runtime.pace import Pace

# With the most messages a page may have it takes about a millisecond: history never takes more
# than a tenth of the front process, and no peer takes the others' share.
PAGES_HZ, PAGES_HZ_PER_PEER = 100.0, 50.0
BURST_S = 0.2
PEERS = 256
PAGE_BYTES = 1 << 19

Parts = list[bytes]
Kept = tuple[bytes, bytes]  # envelope, blob
Loss = tuple[int, bytes]  # how many, a Lost's envelope


class Archive:
    """Pages for whoever asks, at a pace; counts what was missed, recovered and lost."""

    def __init__(self, journal: Journal) -> None:
        self.missed = 0
        self.recovered = 0
        self.lost = 0
        self._journal = journal
        self._latest: dict[str, Parts] = {}
        self._pace = Pace(PAGES_HZ, PAGES_HZ * BURST_S)
        self._paces: OrderedDict[bytes, Pace] = OrderedDict()

    def published(self, envelope: Envelope, blob: bytes) -> None:
        """Remember a message as the latest of its topic."""
        self._latest[envelope.topic] = [pack(envelope), blob]

    def snapshot(self, peer: bytes) -> tuple[Page | Ack, Parts]:
        """The latest message of every topic that said something in this epoch."""
        refusal = self._refusal(peer)
        if refusal:
            return refusal, []
        return Page(count=len(self._latest)), [p for parts in self._latest.values() for p in parts]

    def page(self, asked: History, peer: bytes) -> tuple[Page | Ack, Parts]:
        """What was journalled after the place asked for, with Lost where something is gone."""
        self.missed = min(self.missed + asked.missed, MOST)
        refusal = self._unknown(asked.topic) or self._refusal(peer)
        if refusal:
            return refusal, []
        try:
            rows = self._journal.after(asked.topic, asked.epoch, asked.seq, asked.limit + 1)
        except JournalError as error:
            return Ack(ok=False, detail=str(error), retry_ms=1000.0), []
        return self._filled(asked, rows)

    def _filled(self, asked: History, rows: list[Row]) -> tuple[Page, Parts]:
        parts: Parts = []
        kept = size = 0
        for one, other in _with_losses(asked, rows):
            if isinstance(one, int):
                self.lost = min(self.lost + one, MOST)
                parts += [other, b""]
                continue
            size += len(one) + len(other)
            if kept == asked.limit or (kept and size > PAGE_BYTES):
                break
            kept += 1
            parts += [one, other]
        self.recovered += kept
        more = kept < sum(row.envelope is not None for row in rows)
        return Page(topic=asked.topic, count=len(parts) // 2, more=more), parts

    def _unknown(self, topic: str) -> Ack | None:
        if topic in TOPICS and TOPICS[topic].journalled:
            return None
        names = ", ".join(t.name for t in TOPICS.values() if t.journalled)
        return Ack(ok=False, detail=f"{topic!r} is not journalled; ask for one of {names}")

    def _refusal(self, peer: bytes) -> Ack | None:
        now_s = time.monotonic()
        wait_s = self._pace_of(peer).wait_s(now_s) or self._pace.wait_s(now_s)
        if not wait_s:
            return None
        retry_ms = max(1.0, wait_s * 1000)
        return Ack(ok=False, detail="too many pages a second; ask again later", retry_ms=retry_ms)

    def _pace_of(self, peer: bytes) -> Pace:
        pace = self._paces.pop(peer, None) or Pace(PAGES_HZ_PER_PEER, PAGES_HZ_PER_PEER * BURST_S)
        self._paces[peer] = pace
        if len(self._paces) > PEERS:
            self._paces.popitem(last=False)
        return pace


def _with_losses(asked: History, rows: list[Row]) -> Iterator[Kept | Loss]:
    """The kept rows; before each, what is missing since the one before it."""
    epoch, seq, lost = asked.epoch, asked.seq, 0
    for row in rows:
        if epoch == "":
            epoch, seq = row.epoch, row.seq - 1
        hole = row.seq - (seq if row.epoch == epoch else 0) - 1
        lost += hole if row.envelope is not None else hole + 1
        if row.envelope is not None:
            if lost:
                yield _lost(asked.topic, lost, row.epoch, row.seq - 1)
            lost = 0
            yield row.envelope, row.blob
        epoch, seq = row.epoch, row.seq
    if lost:
        yield _lost(asked.topic, lost, epoch, seq)


def _lost(topic: str, count: int, epoch: str, seq: int) -> Loss:
    return count, pack(seal(Lost(topic=topic, count=count), topic=topic, epoch=epoch, seq=seq))
