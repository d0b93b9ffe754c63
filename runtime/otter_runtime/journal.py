"""What was published, on disk before it was published: SQLite with a write-ahead log.

It keeps packed envelopes and the epoch counter, and does not know what the messages say. Every
append is one committed transaction; in WAL mode only `synchronous=FULL` syncs the log at each
commit, so that an answer somebody received survives a power cut.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

from otter_robots.envelope import Envelope, pack
from otter_runtime.errors import JournalError

# Messages kept per topic: at an answer a second, more than a day. Older ones are trimmed.
RETENTION = 100_000
TRIM_EVERY = 1_000

_SCHEMA = """
CREATE TABLE IF NOT EXISTS epochs (counter INTEGER PRIMARY KEY AUTOINCREMENT, started TEXT);
CREATE TABLE IF NOT EXISTS messages (
    topic TEXT NOT NULL,
    epoch TEXT NOT NULL,
    seq INTEGER NOT NULL,
    envelope BLOB NOT NULL,
    blob BLOB NOT NULL,
    PRIMARY KEY (topic, epoch, seq)
) WITHOUT ROWID;
"""


class Journal:
    """One file, one writer. Any failure is a JournalError, and the next append tries again.

    A journal that cannot even be opened still counts as one, so that a full or read-only disk
    costs the record and not the answers.
    """

    def __init__(self, path: Path, retention: int = RETENTION) -> None:
        self.path = path
        self.retention = retention
        self._db: sqlite3.Connection | None = None
        self._appended = 0

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
        row = (envelope.topic, envelope.epoch, envelope.seq, pack(envelope), blob)
        try:
            with self._open() as db:
                db.execute("INSERT INTO messages VALUES (?, ?, ?, ?, ?)", row)
                self._trim(db, envelope.topic)
        except (sqlite3.Error, OSError) as error:
            raise self._failure(error) from error

    def after(self, topic: str, epoch: str = "", seq: int = 0) -> Iterator[tuple[bytes, bytes]]:
        """Envelope and blob of every message of a topic later than (epoch, seq), in order.

        Epochs sort as text. Raises JournalError.
        """
        query = (
            "SELECT envelope, blob FROM messages WHERE topic = ? AND (epoch, seq) > (?, ?) "
            "ORDER BY epoch, seq"
        )
        try:
            yield from self._open().execute(query, (topic, epoch, seq))
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

    def _trim(self, db: sqlite3.Connection, topic: str) -> None:
        self._appended += 1
        if self._appended % TRIM_EVERY:
            return
        db.execute(
            "DELETE FROM messages WHERE topic = ? AND (epoch, seq) <= ("
            "SELECT epoch, seq FROM messages WHERE topic = ? "
            "ORDER BY epoch DESC, seq DESC LIMIT 1 OFFSET ?)",
            (topic, topic, self.retention),
        )

    def _failure(self, error: Exception) -> JournalError:
        # The connection may be beyond use (the file was replaced, the disk went away).
        try:
            self.close()
        except sqlite3.Error:
            self._db = None
        return JournalError(f"journal {self.path} cannot be used: {error}")
