"""What was published, on disk before it was published: SQLite with a write-ahead log.

It keeps packed envelopes and the epoch counter, and does not know what the messages say. Each call
that appends is one committed transaction; in WAL mode only `synchronous=FULL` syncs the log at
every commit, so that an answer somebody received survives a power cut.

Order is the order of appending, not that of epochs: a run that could not open its journal has
the epoch counter 0 and may journal all the same once the disk is back.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from otter_robots.envelope import Envelope, pack
from otter_runtime.errors import JournalError
from otter_runtime.folders import disk_free_mb

KEEP_DAYS, KEEP_MB = 7.0, 1000.0
DAY_NS = 86_400_000_000_000
# Pruned a little at a time, so that no append waits for it: more goes than comes.
PRUNE_EVERY, PRUNE_ROWS = 500, 1000
GAPS = 64  # pages of 4 KiB: about what PRUNE_EVERY messages take

_SCHEMA = """
CREATE TABLE IF NOT EXISTS epochs (counter INTEGER PRIMARY KEY AUTOINCREMENT, started TEXT);
CREATE TABLE IF NOT EXISTS published (
    place INTEGER PRIMARY KEY,
    topic TEXT NOT NULL,
    epoch TEXT NOT NULL,
    seq INTEGER NOT NULL,
    wall_ns INTEGER NOT NULL,
    envelope BLOB NOT NULL,
    blob BLOB NOT NULL,
    UNIQUE (topic, epoch, seq)
);
CREATE INDEX IF NOT EXISTS published_topic ON published (topic);
CREATE TABLE IF NOT EXISTS pruned (
    place INTEGER PRIMARY KEY,
    topic TEXT NOT NULL,
    epoch TEXT NOT NULL,
    seq INTEGER NOT NULL,
    UNIQUE (topic, epoch)
);
"""


class Row(NamedTuple):
    """A message as it was packed; `envelope` None: this one and its epoch's before are gone."""

    epoch: str
    seq: int
    envelope: bytes | None
    blob: bytes = b""


class Journal:
    """One file, one writer. Any failure is a JournalError, and the next append tries again.

    A journal that cannot even be opened still counts as one, so that a full or read-only disk
    costs the record and not the answers. Messages are kept for `keep_days`, or for as long as the
    file's content stays below `keep_mb` and the disk has `reserve_mb` left, whichever is shorter.
    """

    def __init__(
        self,
        path: Path,
        keep_days: float = KEEP_DAYS,
        keep_mb: float = KEEP_MB,
        reserve_mb: float = 0.0,
    ) -> None:
        self.path = path
        self.keep_ns = round(keep_days * DAY_NS)
        self.keep_bytes = round(keep_mb * 1e6)
        self.reserve_mb = reserve_mb
        self._db: sqlite3.Connection | None = None
        self._appended = 0
        self._since_ns = time.monotonic_ns()
        self._first: int | None = None  # the place of this run's first message

    def next_epoch(self) -> int:
        """Count up and persist the epoch counter; from 1. Raises JournalError."""
        try:
            with self._open() as db:
                cursor = db.execute("INSERT INTO epochs (started) VALUES (datetime('now'))")
                return int(cursor.lastrowid or 0)
        except (sqlite3.Error, OSError) as error:
            raise self._failure(error) from error

    def append(self, envelope: Envelope, blob: bytes = b"") -> None:
        """Put one message on disk; once this returns it survives a crash. Raises JournalError."""
        self.append_all([(envelope, blob)])

    def append_all(self, messages: Sequence[tuple[Envelope, bytes]]) -> None:
        """Put all of these on disk with one sync, or none of them. Raises JournalError."""
        try:
            with self._open() as db:
                for envelope, blob in messages:
                    self._insert(db, envelope, blob)
                before, self._appended = self._appended, self._appended + len(messages)
                if self._appended // PRUNE_EVERY > before // PRUNE_EVERY:
                    _prune(db, self._cut(db))
        except (sqlite3.Error, OSError) as error:
            raise self._failure(error) from error

    def _insert(self, db: sqlite3.Connection, envelope: Envelope, blob: bytes) -> None:
        named = (envelope.topic, envelope.epoch, envelope.seq, envelope.wall_ns)
        place = db.execute(
            "INSERT INTO published (topic, epoch, seq, wall_ns, envelope, blob) "
            "VALUES (?, ?, ?, ?, ?, ?)",
            (*named, pack(envelope), blob),
        ).lastrowid
        self._first = place if self._first is None else self._first

    def after(self, topic: str, epoch: str = "", seq: int = 0, limit: int = -1) -> list[Row]:
        """What was appended to a topic after (epoch, seq), in order, at most `limit` messages.

        Rows without an envelope come first and say what was pruned. An empty epoch asks from the
        oldest kept message; one that this journal never saw is another journal's, and everything
        here comes after it. Raises JournalError.
        """
        try:
            db = self._open()
            start = _place(db, topic, epoch, seq)
            kept = db.execute(
                "SELECT epoch, seq, envelope, blob FROM published "
                "WHERE topic = ? AND place > ? ORDER BY place LIMIT ?",
                (topic, start or 0, limit),
            )
            return [*_gone(db, topic, epoch, seq, start), *map(Row._make, kept)]
        except (sqlite3.Error, OSError) as error:
            raise self._failure(error) from error

    def backwards(self, topic: str) -> Iterator[bytes]:
        """The packed envelopes of a topic, newest first. Raises JournalError."""
        try:
            for (envelope,) in self._open().execute(
                "SELECT envelope FROM published WHERE topic = ? ORDER BY place DESC", (topic,)
            ):
                yield envelope
        except (sqlite3.Error, OSError) as error:
            raise self._failure(error) from error

    def close(self) -> None:
        """Close the file; a later append opens it again."""
        db, self._db = self._db, None
        if db is not None:
            db.close()

    def _open(self) -> sqlite3.Connection:
        if self._db is None:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            # Half a second for another process's lock: the step loop waits no longer for a record.
            db = sqlite3.connect(self.path, timeout=0.5)
            try:
                db.execute("PRAGMA journal_mode = WAL")
                db.execute("PRAGMA synchronous = FULL")
                db.executescript(_SCHEMA)
            except sqlite3.Error:
                db.close()
                raise
            self._db = db
        return self._db

    def _cut(self, db: sqlite3.Connection) -> int:
        """The place before which everything may go, a prefix of what is there."""
        oldest = db.execute(
            "SELECT place, wall_ns FROM published ORDER BY place LIMIT ?", (PRUNE_ROWS,)
        ).fetchall()
        if self._cramped(db) or _used_bytes(db) > self.keep_bytes:
            return int(oldest[-1][0])
        limit_ns = time.time_ns() - self.keep_ns
        # A clock that is set while we run (a board without a battery starts in 1970) must not
        # make this run's messages old.
        aged = time.monotonic_ns() - self._since_ns > self.keep_ns
        mine = None if aged else self._first
        fresh = (
            place
            for place, wall_ns in oldest
            if wall_ns >= limit_ns or (mine is not None and place >= mine)
        )
        return int(next(fresh, oldest[-1][0]))

    def _cramped(self, db: sqlite3.Connection) -> bool:
        """Whether the file would have to grow, and the disk has no more than its reserve.

        The file never shrinks; what is pruned leaves gaps in it, which new messages fill.
        """
        free_mb = disk_free_mb(self.path.parent)
        if free_mb is None or free_mb >= self.reserve_mb:
            return False
        return int(db.execute("PRAGMA freelist_count").fetchone()[0]) < GAPS

    def _failure(self, error: Exception) -> JournalError:
        # The connection may be beyond use (the file was replaced, the disk went away).
        try:
            self.close()
        except sqlite3.Error:
            self._db = None
        return JournalError(f"journal {self.path} cannot be used: {error}")


def _used_bytes(db: sqlite3.Connection) -> int:
    """What the content takes; the file keeps the room of what was pruned and fills it again."""
    names = ("page_count", "freelist_count", "page_size")
    pages, free, size = (int(db.execute(f"PRAGMA {name}").fetchone()[0]) for name in names)
    return (pages - free) * size


def _prune(db: sqlite3.Connection, cut: int) -> None:
    db.execute(
        "INSERT INTO pruned (topic, epoch, seq) SELECT topic, epoch, MAX(seq) FROM published "
        "WHERE place < ? GROUP BY topic, epoch ORDER BY MIN(place) "
        "ON CONFLICT (topic, epoch) DO UPDATE SET seq = excluded.seq",
        (cut,),
    )
    db.execute("DELETE FROM published WHERE place < ?", (cut,))


def _place(db: sqlite3.Connection, topic: str, epoch: str, seq: int) -> int | None:
    """The place that (epoch, seq) has or would have; None where nothing of the epoch is kept."""
    found: tuple[int | None, int | None] = db.execute(
        "SELECT MAX(place) FILTER (WHERE seq <= ?), MIN(place) - 1 FROM published "
        "WHERE topic = ? AND epoch = ?",
        (seq, topic, epoch),
    ).fetchone()
    at, before = found
    return before if at is None else at


def _gone(db: sqlite3.Connection, topic: str, epoch: str, seq: int, start: int | None) -> list[Row]:
    """What was pruned after (epoch, seq): per epoch, its last message that is gone."""
    if epoch == "":
        return []
    found = db.execute(
        "SELECT place FROM pruned WHERE topic = ? AND epoch = ?", (topic, epoch)
    ).fetchone()
    if found is None and start is not None:
        return []  # of a kept epoch nothing is gone, nor of those after it
    rows = db.execute(
        "SELECT epoch, seq FROM pruned WHERE topic = ? AND place >= ? ORDER BY place",
        (topic, found[0] if found else 0),
    )
    return [Row(gone, last, None) for gone, last in rows if gone != epoch or last > seq]
