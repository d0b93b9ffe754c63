"""The bus between real processes: sequence, gaps, restarts, crashes, a disk that fills up."""

from __future__ import annotations

import contextlib
import itertools
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from otter_robots.client import OLDEST, Client, Place
from otter_robots.envelope import Envelope, unpack
from otter_robots.errors import NoAnswer, NobodyListening
from otter_robots.listener import Since
from otter_robots.messages import Answer, Fault, Lost, Message
from otter_robots.topics import ANSWER, FAULT, HEALTH
from otter_runtime.journal import Journal

SERVER = Path(__file__).with_name("bus_process.py")
SUBSCRIBER = Path(__file__).with_name("subscriber_process.py")
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
    with Client(f"ipc://{tmp_path}/s", requests) as bus:
        with pytest.raises(NobodyListening, match="/r"):
            bus.ask("too early", timeout_s=5)
        with server(tmp_path):
            bus.subscribe([ANSWER])
            assert isinstance(bus.ask("in time", timeout_s=10), Answer)
            texts = [m.text for _, m in hear(bus, 20) if isinstance(m, Answer)]
            assert "too early" not in texts


def test_a_silent_runtime_is_no_answer(tmp_path: Path) -> None:
    with server(tmp_path) as running, client(running) as bus, pytest.raises(NoAnswer):
        bus.ask("silence", timeout_s=0.2)


def journalled(path: Path) -> list[tuple[Envelope, Message]]:
    journal = Journal(path)
    rows = [unpack(row.envelope) for row in journal.after("answer") if row.envelope]
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
        # The acknowledgement may or may not have left when it dies.
        with pytest.raises((NoAnswer, NobodyListening)):
            bus.ask("fatal", timeout_s=1)
        assert running.process.wait(5) == -signal.SIGKILL
        heard = list(iter(lambda: bus.receive(0.1), None))
    texts = [m.text for _, m in journalled(running.journal) if isinstance(m, Answer)]
    assert ("fatal" in texts) == kept
    assert all(m.text != "fatal" for _, m in heard if isinstance(m, Answer))


@pytest.mark.parametrize("in_one_go", ["1", "5"])
def test_a_full_disk_costs_the_record_and_not_the_answers(in_one_go: str, tmp_path: Path) -> None:
    small = ("--file-limit", "200000", "--every-ms", "1", "--answers", in_one_go)
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


# History: late, stopped, restarted and crashed, and yet everything in order and once.


def kept_places(running: Server) -> list[Place]:
    return [Place(envelope.epoch, envelope.seq) for envelope, _ in journalled(running.journal)]


def last_answer(bus: Client) -> Envelope:
    """The envelope of the newest answer; waits for the first one."""
    while "answer" not in (latest := bus.snapshot()):
        time.sleep(0.05)
    return latest["answer"][0]


def until_silent(bus: Client) -> list[tuple[Envelope, Message]]:
    """What still comes."""
    return list(iter(lambda: bus.receive(1.5), None))


def until_caught_up(bus: Client, heard: list[Place]) -> None:
    """Read on until nothing new comes; no message twice, none lost."""
    for envelope, message in until_silent(bus):
        assert not isinstance(message, Lost)
        heard.append(Place(envelope.epoch, envelope.seq))


def test_a_late_subscriber_gets_everything_from_the_start(tmp_path: Path) -> None:
    with server(tmp_path, "--every-ms", "0") as running, client(running) as early:
        early.subscribe([ANSWER])
        hear(early, 600)  # more than two pages
        with client(running) as late:
            places: list[Place] = []
            for envelope, _ in late.messages([ANSWER, HEALTH], 10, since=OLDEST):
                if envelope.topic == "answer":
                    places.append(Place(envelope.epoch, envelope.seq))
                if len(places) == 1500:
                    break
        running.kill()
        assert places == kept_places(running)[:1500]
        assert late.recovered["answer"] >= 600
        assert late.lost == {"answer": 0}
        assert late.places["answer"] == places[-1]


def test_a_subscriber_goes_on_where_an_earlier_one_was(tmp_path: Path) -> None:
    heard: list[Place] = []
    since: Since = OLDEST
    with server(tmp_path, "--every-ms", "1") as running:
        for _ in range(4):
            with client(running) as bus:
                bus.messages([ANSWER], since=since)
                heard += [Place(e.epoch, e.seq) for e, _ in hear(bus, 30)]
                since = bus.places
        running.kill()
    assert heard == kept_places(running)[:120]


def test_a_stopped_subscriber_recovers_and_holds_nobody_up(tmp_path: Path) -> None:
    with server(tmp_path, "--every-ms", "1") as running, client(running) as quick:
        quick.subscribe([ANSWER, HEALTH])
        command = [sys.executable, str(SUBSCRIBER), running.stream, running.requests]
        slow = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert slow.stdout
        slow.stdout.readline()
        hear(quick, 300)  # what came before
        gaps = quick.gaps
        slow.send_signal(signal.SIGSTOP)
        until_s = time.monotonic() + 2.5  # the heartbeat's timeout is 0.9 s
        while time.monotonic() < until_s:
            hear(quick, 20)
        slow.send_signal(signal.SIGCONT)
        until_s = time.monotonic() + 1.5
        while time.monotonic() < until_s:
            hear(quick, 20)
        assert quick.gaps == gaps
        assert set(gaps) == {"answer", "health"}
        running.kill()
        out, _ = slow.communicate(timeout=20)
    report = json.loads(out.splitlines()[-1])
    kept = [[place.epoch, place.seq] for place in kept_places(running)]
    assert report["lost"] == {"answer": 0}
    assert report["recovered"]["answer"] > 0
    assert report["heard"] == kept[: len(report["heard"])]
    assert len(report["heard"]) > 100


def test_kill_9_of_the_publisher_again_and_again(tmp_path: Path) -> None:
    """Recovered = journalled, and nothing was received that was not journalled."""
    heard: list[Place] = []
    received: set[Place] = set()
    bus = Client(f"ipc://{tmp_path}/s", f"ipc://{tmp_path}/r")
    live = Client(f"ipc://{tmp_path}/s", f"ipc://{tmp_path}/r")
    with bus, live:
        bus.messages([ANSWER], since=OLDEST)
        live.subscribe([ANSWER])
        for round in range(6):
            with server(tmp_path, "--every-ms", "0") as running:
                heard += [Place(e.epoch, e.seq) for e, _ in hear(bus, 3 + 40 * round)]
                while len({place.epoch for place in heard}) <= round:
                    heard += [Place(e.epoch, e.seq) for e, _ in hear(bus, 1)]
                running.kill()
            while (one := live.receive(0.05)) is not None:
                received.add(Place(one[0].epoch, one[0].seq))
        with server(tmp_path, "--ticks", "0"):
            until_caught_up(bus, heard)
        assert bus.lost == {"answer": 0}
    kept = kept_places(running)
    assert len({place.epoch for place in kept}) >= 6
    assert heard == kept
    assert received <= set(kept)


def test_what_left_the_retention_is_said_once(tmp_path: Path) -> None:
    small = ("--every-ms", "0", "--ticks", "1500", "--keep-mb", "0.2", "--prune-every", "10")
    with server(tmp_path, *small) as running, client(running) as late:
        while (newest := last_answer(late)).seq < 1500:  # then nothing else leaves
            time.sleep(0.05)
        late.messages([ANSWER], since=Place(newest.epoch, 1))
        (place, lost), *others = hear(late, 1) + until_silent(late)
        assert isinstance(lost, Lost)
        assert [envelope.seq for envelope, _ in others] == list(range(place.seq + 1, 1501))
        assert lost.count == place.seq - 1 > 500
        assert late.lost == {"answer": lost.count}


def test_the_snapshot_has_the_latest_of_each_topic(tmp_path: Path) -> None:
    with server(tmp_path) as running, client(running) as bus:
        bus.subscribe([ANSWER])
        seq = hear(bus, 5)[-1][0].seq
        latest = bus.snapshot()
        assert set(latest) == {"answer", "health"}
        assert latest["answer"][0].seq >= seq


def test_a_disk_that_filled_up_is_a_loss_that_is_said(tmp_path: Path) -> None:
    small = ("--file-limit", "200000", "--every-ms", "1")
    with server(tmp_path, *small) as running, client(running) as bus:
        bus.subscribe([ANSWER])
        flags = [True]
        while all(flags[-20:]):
            flags += journalled_flags(hear(bus, 1))
        hear(bus, 50)
        with client(running) as late:
            # What can be had is had; then the stream goes on, though it is not journalled.
            heard = [(0, 0)]
            for envelope, message in late.messages([ANSWER], 5, since=OLDEST):
                count = message.count if isinstance(message, Lost) else 1
                heard.append((envelope.seq, count))
                if isinstance(message, Answer) and not message.journalled and len(heard) > 300:
                    break
    assert all(now[0] == before[0] + now[1] for before, now in itertools.pairwise(heard))
    assert late.lost["answer"] > 0


def journalled_flags(heard: list[tuple[Envelope, Message]]) -> list[bool]:
    return [message.journalled for _, message in heard if isinstance(message, Answer)]
