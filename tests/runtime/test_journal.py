"""The journal: order, durability settings, retention, and a disk that says no."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from otter_robots.envelope import Envelope, new_epoch, pack, seal, unpack
from otter_robots.messages import Fault
from otter_runtime import journal as journal_module
from otter_runtime.errors import JournalError
from otter_runtime.journal import Journal


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    journal = Journal(tmp_path / "state" / "journal.db")
    yield journal
    journal.close()


def envelope(epoch: str, seq: int, topic: str = "fault") -> Envelope:
    return seal(Fault(code="x", detail=f"{epoch} {seq}"), topic=topic, epoch=epoch, seq=seq)


def places(journal: Journal, *after: object) -> list[tuple[str, int]]:
    rows = [unpack(data)[0] for data, _ in journal.after("fault", *after)]  # type: ignore[arg-type]
    return [(row.epoch, row.seq) for row in rows]


def test_the_epoch_counter_survives(journal: Journal) -> None:
    first = [journal.next_epoch() for _ in range(3)]
    journal.close()
    other = Journal(journal.path)
    assert [*first, other.next_epoch()] == [1, 2, 3, 4]
    other.close()


def test_it_gives_back_what_it_was_given(journal: Journal) -> None:
    sent = envelope("e", 1)
    journal.append(sent, b"\xff\xd8 a picture")
    assert list(journal.after("fault")) == [(pack(sent), b"\xff\xd8 a picture")]


def test_history_is_by_epoch_and_seq_and_topic(journal: Journal) -> None:
    early, late = new_epoch(9), new_epoch(10)
    for epoch, seq in [(late, 1), (early, 2), (early, 10), (early, 9)]:
        journal.append(envelope(epoch, seq))
    journal.append(envelope(early, 3, topic="answer"))
    everything = [(early, 2), (early, 9), (early, 10), (late, 1)]
    assert places(journal) == everything
    assert places(journal, early, 9) == everything[2:]
    assert places(journal, late, 1) == []


def test_only_the_newest_are_kept(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_module, "TRIM_EVERY", 10)
    journal.retention = 25
    for seq in range(1, 101):
        journal.append(envelope("e", seq))
    assert places(journal) == [("e", seq) for seq in range(76, 101)]


def test_the_log_is_synced_at_every_commit(journal: Journal) -> None:
    journal.append(envelope("e", 1))
    db = journal._db
    assert db is not None
    assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert db.execute("PRAGMA synchronous").fetchone() == (2,)


def test_a_file_that_is_no_journal_is_an_error_each_time(tmp_path: Path) -> None:
    (tmp_path / "journal.db").write_bytes(b"not a database" * 999)
    journal = Journal(tmp_path / "journal.db")
    for _ in range(2):
        with pytest.raises(JournalError, match=r"journal\.db cannot be used"):
            journal.append(envelope("e", 1))
    with pytest.raises(JournalError):
        list(journal.after("fault"))


def test_it_recovers_once_the_disk_does(tmp_path: Path) -> None:
    (tmp_path / "state").touch()
    journal = Journal(tmp_path / "state" / "journal.db")
    with pytest.raises(JournalError):
        journal.next_epoch()
    (tmp_path / "state").unlink()
    assert journal.next_epoch() == 1
    journal.close()


def test_another_writer_is_waited_for_half_a_second(journal: Journal) -> None:
    journal.append(envelope("e", 1))
    with sqlite3.connect(journal.path) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(JournalError, match="locked"):
            journal.append(envelope("e", 2))
    other.close()
    journal.append(envelope("e", 3))
    assert places(journal) == [("e", 1), ("e", 3)]
