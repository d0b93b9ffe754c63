"""What was published before: pages, what is missing in them, the pace, and the snapshot."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from otter_robots.envelope import pack, seal, unpack
from otter_robots.messages import MOST, Ack, Fault, Health, History, Lost, Page
from otter_runtime import archive as archive_module
from otter_runtime.archive import Archive
from otter_runtime.journal import Journal
from otter_runtime.pace import Pace


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    journal = Journal(tmp_path / "journal.db")
    yield journal
    journal.close()


def fill(journal: Journal, epoch: str, *seqs: int) -> None:
    for seq in seqs:
        fault = Fault(code="x", detail="y" * 100, journalled=True)
        journal.append(seal(fault, topic="fault", epoch=epoch, seq=seq))


def ask(archive: Archive, epoch: str, seq: int, limit: int = 256) -> tuple[list[str], bool]:
    """What a page says, `a3` for message 3 of epoch a, `-2 a5` for a Lost of two up to a5."""
    page, parts = archive.page(History(topic="fault", epoch=epoch, seq=seq, limit=limit), b"me")
    assert isinstance(page, Page), page
    assert len(parts) == 2 * page.count
    said = []
    for envelope, message in map(unpack, parts[::2]):
        mark = f"-{message.count} " if isinstance(message, Lost) else ""
        said.append(f"{mark}{envelope.epoch}{envelope.seq}")
    return said, page.more


def test_pages_follow_each_other(journal: Journal) -> None:
    fill(journal, "a", 1, 2, 3, 4, 5)
    archive = Archive(journal)
    assert ask(archive, "", 0, 2) == (["a1", "a2"], True)
    assert ask(archive, "a", 2, 2) == (["a3", "a4"], True)
    assert ask(archive, "a", 4, 2) == (["a5"], False)
    assert ask(archive, "a", 5, 2) == ([], False)
    assert archive.recovered == 5


def test_what_the_journal_missed_is_lost(journal: Journal) -> None:
    fill(journal, "a", 3, 4, 7)
    fill(journal, "b", 2)
    archive = Archive(journal)
    assert ask(archive, "a", 1) == (["-1 a2", "a3", "a4", "-2 a6", "a7", "-1 b1", "b2"], False)
    assert ask(archive, "", 0)[0][:2] == ["a3", "a4"]
    assert ask(archive, "a", 5, 1) == (["-1 a6", "a7", "-1 b1"], True)
    assert ask(archive, "b", 1, 1) == (["b2"], False)
    assert archive.lost == 1 + 2 + 1 + 2 + 1 + 1 + 1


def test_what_left_the_retention_is_lost(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(journal, "a", *range(1, 11))
    fill(journal, "b", *range(1, 6))
    assert journal._db
    with journal._db as db:
        from otter_runtime.journal import _prune

        _prune(
            db, db.execute("SELECT place FROM published WHERE epoch='b' AND seq=3").fetchone()[0]
        )
    archive = Archive(journal)
    assert ask(archive, "a", 4) == (["-8 b2", "b3", "b4", "b5"], False)
    assert ask(archive, "a", 10)[0][0] == "-2 b2"
    assert ask(archive, "b", 1)[0][0] == "-1 b2"
    assert ask(archive, "b", 2)[0][0] == "b3"
    assert ask(archive, "", 0)[0][0] == "b3"


def test_a_journal_of_which_all_is_gone(journal: Journal) -> None:
    from otter_runtime.journal import _prune

    fill(journal, "a", 1, 2, 3)
    assert journal._db
    with journal._db as db:
        _prune(db, 1 << 40)
    archive = Archive(journal)
    assert ask(archive, "a", 1) == (["-2 a3"], False)
    assert ask(archive, "a", 3) == ([], False)


def test_a_page_has_so_many_bytes(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(journal, "a", *range(1, 11))
    monkeypatch.setattr(archive_module, "PAGE_BYTES", 1000)
    said, more = ask(Archive(journal), "", 0)
    assert 1 < len(said) < 10
    assert more
    monkeypatch.setattr(archive_module, "PAGE_BYTES", 1)
    assert ask(Archive(journal), "a", 1) == (["a2"], True)


def test_an_unknown_topic_and_one_without_journal_are_refused(journal: Journal) -> None:
    for topic in ("nonsense", "health", "request", ""):
        refusal, parts = Archive(journal).page(History(topic=topic), b"me")
        assert isinstance(refusal, Ack)
        assert not refusal.ok
        assert refusal.retry_ms is None
        assert "answer, status, fault" in refusal.detail
        assert parts == []


def test_a_journal_that_fails_is_a_refusal_for_now(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    refusal, _ = Archive(Journal(tmp_path / "file" / "j.db")).page(History(topic="fault"), b"me")
    assert isinstance(refusal, Ack)
    assert refusal.retry_ms


def test_one_asker_cannot_take_it_all(journal: Journal) -> None:
    archive = Archive(journal)
    greedy = [archive.page(History(topic="fault"), b"greedy")[0] for _ in range(50)]
    assert [type(reply) for reply in greedy[:10]] == [Page] * 10
    assert isinstance(greedy[-1], Ack)
    assert 0 < (greedy[-1].retry_ms or 0) < 1000
    assert isinstance(archive.page(History(topic="fault"), b"modest")[0], Page)
    many = [archive.snapshot(b"%d" % peer)[0] for peer in range(1000)]
    assert isinstance(many[-1], Ack)
    assert len(archive._paces) <= archive_module.PEERS


def test_no_count_outgrows_the_heartbeat(journal: Journal) -> None:
    archive = Archive(journal)
    fill(journal, "a", 1, MOST)
    for _ in range(3):
        archive.page(History(topic="fault", epoch="a", seq=1, missed=MOST), b"me")
    heartbeat = Health(uptime_s=1, missed=archive.missed, lost=archive.lost)
    assert unpack(pack(seal(heartbeat, topic="health", epoch="a", seq=1)))[1] == heartbeat


def test_a_pace_saves_up_its_burst_and_no_more() -> None:
    pace = Pace(10.0, 3)
    assert [pace.wait_s(100.0) for _ in range(3)] == [0, 0, 0]
    assert pace.wait_s(100.0) == pytest.approx(0.1)
    assert pace.wait_s(100.11) == 0
    assert pace.wait_s(100.11) > 0
    assert [pace.wait_s(200.0) > 0 for _ in range(4)] == [False, False, False, True]


def test_the_snapshot_is_the_latest_of_each_topic(journal: Journal) -> None:
    archive = Archive(journal)
    for seq in (1, 2):
        for topic in ("fault", "answer"):
            sealed = seal(Fault(code="x", detail=topic), topic=topic, epoch="a", seq=seq)
            archive.published(sealed, b"")
    page, parts = archive.snapshot(b"me")
    assert isinstance(page, Page)
    assert page.count == 2
    assert {(e.topic, e.seq) for e, _ in map(unpack, parts[::2])} == {("fault", 2), ("answer", 2)}
