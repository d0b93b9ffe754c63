"""What is said in one go: one transaction, in order, and honest where the disk fails."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest

from otter_robots.envelope import Envelope, pack, unpack
from otter_robots.messages import Ack, Answer, Fault, Health, Message, Status
from otter_robots.topics import ANSWER, HEALTH, STATUS
from otter_runtime.errors import JournalError
from otter_runtime.journal import Journal
from otter_runtime.outbox import Outbox

ANSWERED = Answer(
    text="Turn left.",
    frame_ids=(1,),
    captured_mono_ns=1,
    captured_wall_ns=2,
    age_ms=3.0,
    ttl_ms=1000.0,
    model_hash="0" * 64,
)


class CountingJournal(Journal):
    """A real one that can be told to fail, and counts its transactions."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.broken = False
        self.commits: list[int] = []

    def append_all(self, messages: Sequence[tuple[Envelope, bytes]]) -> None:
        if self.broken:
            raise JournalError("the disk is full")
        super().append_all(messages)
        self.commits.append(len(messages))


class Wire:
    """What went out: topic or peer, and the message."""

    def __init__(self) -> None:
        self.out: list[tuple[str, Envelope]] = []
        self.told: list[Message] = []

    def send(self, envelope: Envelope, blob: bytes) -> None:
        self.out.append((envelope.topic, envelope))

    def answer(self, peer: bytes, envelope: Envelope, parts: Iterable[bytes]) -> None:
        self.out.append((f"to {peer.decode()}", envelope))

    @property
    def said(self) -> list[tuple[str, Message]]:
        return [(where, unpack(pack(envelope))[1]) for where, envelope in self.out]


@pytest.fixture
def journal(tmp_path: Path) -> CountingJournal:
    return CountingJournal(tmp_path / "journal.db")


@pytest.fixture
def wire() -> Wire:
    return Wire()


@pytest.fixture
def outbox(journal: CountingJournal, wire: Wire) -> Outbox:
    outbox = Outbox("0000000001-a", journal, wire.send, wire.answer)
    outbox.tell = lambda envelope, message: wire.told.append(message)
    return outbox


def test_a_batch_is_one_transaction_and_goes_out_in_order(
    outbox: Outbox, journal: CountingJournal, wire: Wire
) -> None:
    with outbox.batch():
        outbox.reply(b"p", 7, Ack())
        envelope = outbox.publish(ANSWER, ANSWERED)
        outbox.reply(b"p", 7, envelope)
        with outbox.batch():
            outbox.publish(HEALTH, Health(uptime_s=1))
            outbox.publish(ANSWER, ANSWERED)
        outbox.publish(STATUS, Status(state="running"))
        assert wire.out == []
        assert journal.commits == []
    assert journal.commits == [3]
    assert [where for where, _ in wire.said] == [
        "to p", "answer", "to p", "health", "answer", "status",
    ]  # fmt: skip
    assert [m.journalled for _, m in wire.said if isinstance(m, Answer)] == [True] * 3
    assert [e.seq for where, e in wire.out if where == "answer"] == [1, 2]
    assert [e.reply_to for where, e in wire.out if where == "to p"] == [7, 7]
    assert wire.told == [message for where, message in wire.said if where != "to p"]
    kept = [row.seq for row in journal.after("answer")]
    assert kept == [1, 2]
    journal.close()


def test_alone_it_is_sent_at_once(outbox: Outbox, journal: CountingJournal, wire: Wire) -> None:
    sent = outbox.publish(ANSWER, ANSWERED)
    assert wire.out == [("answer", sent)]
    assert journal.commits == [1]
    journal.close()


def test_where_the_journal_fails_everything_in_the_batch_says_so(
    outbox: Outbox, journal: CountingJournal, wire: Wire
) -> None:
    journal.broken = True
    with outbox.batch():
        for seq in range(3):
            outbox.reply(b"p", seq, outbox.publish(ANSWER, ANSWERED))
        outbox.publish(HEALTH, Health(uptime_s=1))
    answers = [message for _, message in wire.said if isinstance(message, Answer)]
    assert [answer.journalled for answer in answers] == [False] * 6
    fault = wire.said[-1][1]
    assert isinstance(fault, Fault)
    assert (fault.code, fault.detail, fault.journalled) == ("journal", "the disk is full", False)
    assert not outbox.journal_ok
    with outbox.batch():
        outbox.publish(ANSWER, ANSWERED)
    assert sum(isinstance(message, Fault) for _, message in wire.said) == 1
    journal.broken = False
    outbox.publish(HEALTH, Health(uptime_s=2))
    assert not outbox.journal_ok  # nothing was journalled, so nothing is known
    assert unpack(pack(outbox.publish(ANSWER, ANSWERED)))[1].journalled  # type: ignore[attr-defined]
    assert outbox.journal_ok
    assert wire.said[-1][1] == Fault(code="journal", detail="the journal works again", cleared=True)
    assert wire.told == [message for where, message in wire.said if where != "to p"]
    assert [row.seq for row in journal.after("answer")] == [5]
    journal.close()


def test_what_was_said_before_an_error_is_sent(
    outbox: Outbox, journal: CountingJournal, wire: Wire
) -> None:
    with contextlib.suppress(RuntimeError), outbox.batch():
        outbox.publish(ANSWER, ANSWERED)
        raise RuntimeError
    assert [where for where, _ in wire.out] == ["answer"]
    outbox.publish(ANSWER, ANSWERED)
    assert [where for where, _ in wire.out] == ["answer", "answer"]
    journal.close()


def test_of_a_batch_all_or_nothing_is_on_disk(journal: CountingJournal, wire: Wire) -> None:
    outbox = Outbox("0000000001-a", journal, wire.send, wire.answer)
    outbox.publish(ANSWER, ANSWERED)
    # Another writer has used the next number but one: the transaction fails in its middle.
    other = Outbox("0000000001-a", journal, wire.send, wire.answer)
    other._seqs["answer"] = 2
    other.publish(ANSWER, ANSWERED)
    with outbox.batch():
        outbox.publish(ANSWER, ANSWERED)
        outbox.publish(ANSWER, ANSWERED)
    flags = [message.journalled for _, message in wire.said if isinstance(message, Answer)]
    assert flags == [True, True, False, False]
    assert [row.seq for row in journal.after("answer")] == [1, 3]
    journal.close()
