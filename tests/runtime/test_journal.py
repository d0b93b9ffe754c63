"""The journal: order, durability settings, retention, and a disk that says no."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from otter_robots.envelope import Envelope, new_epoch, pack, seal
from otter_robots.messages import Fault
from otter_runtime import journal as journal_module
from otter_runtime.errors import JournalError
from otter_runtime.journal import DAY_NS, Journal, Row


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    journal = Journal(tmp_path / "state" / "journal.db")
    yield journal
    journal.close()


def envelope(epoch: str, seq: int, topic: str = "fault") -> Envelope:
    return seal(Fault(code="x", detail=f"{epoch} {seq}"), topic=topic, epoch=epoch, seq=seq)


def places(journal: Journal, epoch: str = "", seq: int = 0) -> list[tuple[str, int]]:
    return [(row.epoch, row.seq) for row in journal.after("fault", epoch, seq) if row.envelope]


def gone(journal: Journal, epoch: str, seq: int) -> list[tuple[str, int]]:
    return [(row.epoch, row.seq) for row in journal.after("fault", epoch, seq) if not row.envelope]


def test_the_epoch_counter_survives(journal: Journal) -> None:
    first = [journal.next_epoch() for _ in range(3)]
    journal.close()
    other = Journal(journal.path)
    assert [*first, other.next_epoch()] == [1, 2, 3, 4]
    other.close()


def test_it_gives_back_what_it_was_given(journal: Journal) -> None:
    sent = envelope("e", 1)
    journal.append(sent, b"\xff\xd8 a picture")
    assert journal.after("fault") == [Row("e", 1, pack(sent), b"\xff\xd8 a picture")]


def test_history_is_in_the_order_of_appending(journal: Journal) -> None:
    # The middle epoch is of a run that could not open the journal at first.
    early, middle, late = new_epoch(9), new_epoch(0), new_epoch(10)
    everything = [(early, 2), (early, 9), (early, 10), (middle, 4), (late, 1)]
    for epoch, seq in everything:
        journal.append(envelope(epoch, seq))
        journal.append(envelope(epoch, seq, topic="answer"))
    assert places(journal) == everything
    assert places(journal, early, 9) == everything[2:]
    assert places(journal, early, 1) == everything
    assert places(journal, early, 5) == everything[1:]
    assert places(journal, early, 99) == everything[3:]
    assert places(journal, middle, 4) == everything[4:]
    assert places(journal, late, 1) == []
    assert places(journal, "of another journal", 7) == everything
    assert journal.after("fault", early, 2, limit=1) == journal.after("fault", early, 2)[:1]
    assert gone(journal, early, 0) == gone(journal, "of another journal", 7) == []


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Prunes at every tenth message, up to twenty."""
    monkeypatch.setattr(journal_module, "PRUNE_EVERY", 10)
    monkeypatch.setattr(journal_module, "PRUNE_ROWS", 20)


@pytest.mark.usefixtures("impatient")
def test_what_is_too_much_goes_and_is_remembered(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.db", keep_mb=0.2)
    for epoch in ("a", "b", "c"):
        for seq in range(1, 101):
            journal.append(envelope(epoch, seq), bytes(1000))
    kept = places(journal)
    assert kept[0][0] in "bc"
    assert kept[-1] == ("c", 100)
    assert 50 < len(kept) < 200
    assert journal.path.stat().st_size < 400_000
    pruned = gone(journal, "a", 60)
    assert pruned[0] == ("a", 100)
    lost = sum(seq for _, seq in pruned) - 60
    assert lost + len(kept) == 240
    assert gone(journal, "a", 100) == pruned[1:]
    assert gone(journal, *kept[0]) == []
    assert gone(journal, "", 0) == []
    assert gone(journal, "of another journal", 5) == pruned
    journal.close()


@pytest.mark.usefixtures("impatient")
def test_on_a_disk_that_is_nearly_full_the_file_stops_growing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = {"mb": 500.0}
    monkeypatch.setattr(journal_module, "disk_free_mb", lambda folder: room["mb"])
    monkeypatch.setattr(journal_module, "GAPS", 4)
    journal = Journal(tmp_path / "journal.db", reserve_mb=100)

    def append(begin: int) -> int:
        for seq in range(begin, begin + 200):
            journal.append(envelope("a", seq), bytes(1000))
        journal._open().execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return journal.path.stat().st_size

    assert append(1) > 200_000
    assert len(places(journal)) == 200
    room["mb"] = 99.0
    full = append(201)
    for begin in range(401, 1400, 200):
        assert append(begin) <= full
    kept = places(journal)
    assert kept[-1] == ("a", 1400)
    assert 100 < len(kept) < 400  # it forgets as much as it needs to, no more
    journal.close()


def aged(journal: Journal, days: float) -> None:
    """As if everything had been published so many days earlier."""
    with sqlite3.connect(journal.path) as db:
        db.execute("UPDATE published SET wall_ns = wall_ns - ?", (round(days * DAY_NS),))
    db.close()


@pytest.mark.usefixtures("impatient")
def test_what_is_too_old_goes(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.db", keep_days=7)
    for seq in range(1, 6):
        journal.append(envelope("a", seq))
    journal.close()
    aged(journal, 8)
    again = Journal(journal.path, keep_days=7)
    for seq in range(1, 11):
        again.append(envelope("b", seq))
    assert places(again) == [("b", seq) for seq in range(1, 11)]
    assert gone(again, "a", 2) == [("a", 5)]
    again.close()


@pytest.mark.usefixtures("impatient")
def test_a_clock_that_is_set_makes_nothing_of_this_run_old(journal: Journal) -> None:
    for seq in range(1, 6):
        journal.append(envelope("a", seq))
    aged(journal, 20_000)
    for seq in range(6, 31):
        journal.append(envelope("a", seq))
    assert places(journal) == [("a", seq) for seq in range(1, 31)]


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
        journal.after("fault")


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
