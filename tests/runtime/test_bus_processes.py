"""The bus between real processes: sequence, gaps, restarts, crashes, a disk that fills up."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from otter_robots.client import Client
from otter_robots.envelope import Envelope, unpack
from otter_robots.errors import NoAnswer, NobodyListening
from otter_robots.messages import Answer, Fault, Message
from otter_robots.topics import ANSWER, FAULT, HEALTH
from otter_runtime.journal import Journal

SERVER = Path(__file__).with_name("bus_process.py")
TCP = "tcp://127.0.0.1:*"


class Server:
    """One `bus_process.py` and where it listens."""

    def __init__(self, stream: str, requests: str, journal: Path, *options: str) -> None:
        self.journal = journal
        self.process = subprocess.Popen(
            [sys.executable, str(SERVER), stream, requests, str(journal), *options],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        bound = json.loads(self.process.stdout.readline())
        self.stream, self.requests = bound["stream"], bound["requests"]

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


@contextlib.contextmanager
def server(tmp_path: Path, *options: str, scheme: str = "ipc") -> Iterator[Server]:
    stream, requests = f"ipc://{tmp_path}/s", f"ipc://{tmp_path}/r"
    if scheme == "tcp":
        stream = requests = TCP
    running = Server(stream, requests, tmp_path / "journal.db", *options)
    try:
        yield running
    finally:
        running.kill()


def client(running: Server) -> Client:
    return Client(running.stream, running.requests)


def hear(bus: Client, count: int) -> list[tuple[Envelope, Message]]:
    """The next messages; fails after ten seconds of silence."""
    heard = []
    for _ in range(count):
        one = bus.receive(10)
        assert one is not None, "the publisher is silent"
        heard.append(one)
    return heard


@pytest.mark.parametrize("scheme", ["ipc", "tcp"])
def test_two_processes_over(scheme: str, tmp_path: Path) -> None:
    with server(tmp_path, scheme=scheme) as running, client(running) as bus:
        bus.subscribe()
        heard = hear(bus, 60)
        reply = bus.ask("Where is the cup?", timeout_s=10)
        assert isinstance(reply, Answer)
        assert (reply.text, reply.journalled) == ("Where is the cup?", True)
        assert bus.alive()
        assert bus.gaps == {"answer": 0, "health": 0}
        assert bus.hostile == 0
    for topic in (ANSWER, HEALTH):
        seqs = [envelope.seq for envelope, _ in heard if envelope.topic == topic.name]
        assert seqs == list(range(seqs[0], seqs[0] + len(seqs)))
        assert len(seqs) >= 20
    assert len({envelope.epoch for envelope, _ in heard}) == 1


def test_the_reply_is_the_published_answer(tmp_path: Path) -> None:
    with server(tmp_path) as running, client(running) as bus:
        bus.subscribe([ANSWER])
        hear(bus, 1)
        envelope, reply = bus.ask_sealed("Where?", timeout_s=10)
        published = {(e.epoch, e.seq): message for e, message in hear(bus, 20)}
        assert published[envelope.epoch, envelope.seq] == reply


def test_instruct_and_cancel_arrive(tmp_path: Path) -> None:
    with server(tmp_path) as running, client(running) as bus:
        bus.subscribe([ANSWER])
        hear(bus, 1)
        bus.instruct("go", 2.5)
        bus.cancel("q7")
        texts = [m.text for _, m in hear(bus, 30) if isinstance(m, Answer)]
        assert "go every 2.5 s" in texts
        assert "cancelled q7" in texts


def test_a_subscriber_that_stops_reading_sees_its_gap(tmp_path: Path) -> None:
    fast = ("--every-ms", "2", "--beats", "100")
    with server(tmp_path, *fast, scheme="tcp") as running, client(running) as slow:
        slow._sub.rcvhwm = 1  # libzmq applies it to connections made from now on.
        slow._sub.rcvbuf = 4096
        slow._sub.disconnect(running.stream)
        slow._sub.connect(running.stream)
        slow.subscribe([HEALTH])
        first = hear(slow, 1)[0][0].seq
        with client(running) as quick:
            # The slow one reads nothing meanwhile; the quick one misses nothing.
            quick.subscribe([HEALTH])
            while hear(quick, 100)[-1][0].seq < first + 20_000:
                assert quick.gaps["health"] == 0
        heard = [first]
        while slow.gaps["health"] == 0:
            heard += [envelope.seq for envelope, _ in hear(slow, 1)]
        assert heard[-1] - first == len(heard) - 1 + slow.gaps["health"]


def test_a_restart_is_seen_and_its_epoch_sorts_later(tmp_path: Path) -> None:
    with server(tmp_path) as first, client(first) as bus:
        bus.subscribe([ANSWER])
        before = hear(bus, 3)[-1][0]
        first.kill()
        with server(tmp_path):
            after = next(
                e for e, _ in iter(lambda: hear(bus, 1)[0], None) if e.epoch > before.epoch
            )
        assert after.epoch != before.epoch
        assert bus.restarts == 1


def test_a_dead_publisher_is_noticed(tmp_path: Path) -> None:
    with server(tmp_path) as running, client(running) as bus:
        bus.subscribe([HEALTH])
        hear(bus, 1)
        assert bus.alive()
        running.process.send_signal(signal.SIGSTOP)
        while bus.receive(3.1) is not None:
            pass
        assert not bus.alive()


def test_nobody_listening_is_said_and_the_question_is_not_kept(tmp_path: Path) -> None:
    requests = f"ipc://{tmp_path}/r"
    with Client(f"ipc://{tmp_path}/s", requests) as bus, pytest.raises(NobodyListening, match="/r"):
        bus.ask("too early", timeout_s=5)
    with server(tmp_path) as running, client(running) as later:
        later.subscribe([ANSWER])
        assert all(m.text != "too early" for _, m in hear(later, 20) if isinstance(m, Answer))


def test_a_silent_runtime_is_no_answer(tmp_path: Path) -> None:
    with server(tmp_path) as running, client(running) as bus, pytest.raises(NoAnswer):
        bus.ask("silence", timeout_s=0.2)


def journalled(path: Path) -> list[tuple[Envelope, Message]]:
    journal = Journal(path)
    rows = [unpack(envelope) for envelope, _ in journal.after("answer")]
    journal.close()
    return rows


@pytest.mark.parametrize("heard_before_the_crash", [1, 7, 40])
def test_whatever_was_heard_survives_kill_9(heard_before_the_crash: int, tmp_path: Path) -> None:
    with server(tmp_path, "--every-ms", "0") as running, client(running) as bus:
        bus.subscribe([ANSWER])
        heard = hear(bus, heard_before_the_crash)
        running.kill()
        while (late := bus.receive(0.1)) is not None:
            heard.append(late)
    kept = journalled(running.journal)
    assert {e.seq for e, _ in heard} <= {e.seq for e, _ in kept}
    assert [e.seq for e, _ in kept] == list(range(1, len(kept) + 1))


@pytest.mark.parametrize(("die", "kept"), [("before", False), ("after", True)])
def test_the_journal_comes_before_the_stream(die: str, kept: bool, tmp_path: Path) -> None:
    with server(tmp_path, "--die", die) as running, client(running) as bus:
        bus.subscribe([ANSWER])
        hear(bus, 1)
        with pytest.raises(NoAnswer):
            bus.ask("fatal", timeout_s=1)
        assert running.process.wait(5) == -signal.SIGKILL
        heard = list(iter(lambda: bus.receive(0.1), None))
    texts = [m.text for _, m in journalled(running.journal) if isinstance(m, Answer)]
    assert ("fatal" in texts) == kept
    assert all(m.text != "fatal" for _, m in heard if isinstance(m, Answer))


def test_a_full_disk_costs_the_record_and_not_the_answers(tmp_path: Path) -> None:
    small = ("--file-limit", "200000", "--every-ms", "1")
    with server(tmp_path, *small) as running, client(running) as bus:
        bus.subscribe([ANSWER, FAULT, HEALTH])
        heard = hear(bus, 100)
        while any(journalled_flags(heard[-100:])):
            heard += hear(bus, 100)
        assert bus.gaps == {"answer": 0, "health": 0, "fault": 0}
    assert any(journalled_flags(heard))
    faults = [message for _, message in heard if isinstance(message, Fault)]
    # One when it fails, one when it works again: emptying the log makes room for a while.
    assert {fault.code for fault in faults} == {"journal"}
    assert [fault.cleared for fault in faults] == [i % 2 == 1 for i in range(len(faults))]
    kept = {envelope.seq for envelope, _ in journalled(running.journal)}
    assert {e.seq for e, m in heard if isinstance(m, Answer) and m.journalled} <= kept


def journalled_flags(heard: list[tuple[Envelope, Message]]) -> list[bool]:
    return [message.journalled for _, message in heard if isinstance(message, Answer)]
