"""The bus in one process: what it refuses, what it survives, what it says when the disk fails."""

from __future__ import annotations

import os
import random
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
import zmq

from otter_robots.client import Client
from otter_robots.envelope import MAX_MESSAGE_BYTES, pack, seal, unpack
from otter_robots.errors import AddressRefused, UserError
from otter_robots.messages import Ack, Answer, Fault, Health, Message, Question
from otter_robots.topics import ANSWER, DELTA, FAULT, HEALTH
from otter_runtime.bus import Bus, Request
from otter_runtime.errors import PortInUse
from otter_runtime.journal import Journal

QUESTION = Question(id="q1", text="What should I do next?")
ANSWERED = Answer(
    text="Turn left.",
    question_id="q1",
    frame_ids=(3, 4),
    captured_mono_ns=1,
    captured_wall_ns=2,
    age_ms=30.0,
    ttl_ms=1000.0,
    model_hash="0" * 64,
)


@pytest.fixture
def bus(tmp_path: Path) -> Iterator[Bus]:
    with Bus(f"ipc://{tmp_path}/s", f"ipc://{tmp_path}/r", Journal(tmp_path / "j.db")) as bus:
        yield bus


@pytest.fixture
def dealer(bus: Bus) -> Iterator[zmq.Socket[bytes]]:
    """A peer that may send anything."""
    with zmq.Context() as context, context.socket(zmq.DEALER) as dealer:
        dealer.linger = 0
        dealer.connect(bus.requests)
        yield dealer


def packed(message: Message, **changes: object) -> bytes:
    sealed = seal(message, topic="request", epoch="e", seq=7)
    return pack(msgspec.structs.replace(sealed, **changes))


def requests(bus: Bus, count: int = 1) -> list[Request]:
    """The next requests; fails after five seconds."""
    found: list[Request] = []
    deadline_s = time.monotonic() + 5
    while len(found) < count:
        assert time.monotonic() < deadline_s, f"{len(found)} of {count} requests"
        found += bus.poll(100)
    return found


def heard(bus: Bus, client: Client, publish: Iterator[object]) -> list[Message]:
    """What a subscriber receives of what is published once the bus knows about it."""
    client.subscribe()
    while not bus.subscribed(FAULT):
        bus.poll(100)
    for _ in publish:
        pass
    return [message for _, message in client.messages(timeout_s=0.3)]


def test_a_request_is_acknowledged_and_answered(bus: Bus, dealer: zmq.Socket[bytes]) -> None:
    dealer.send(packed(QUESTION))
    (request,) = requests(bus)
    assert request.message == QUESTION
    bus.reply(request, Ack())
    bus.reply(request, bus.publish(ANSWER, ANSWERED))
    ack, answer = (unpack(dealer.recv()) for _ in range(2))
    assert ack[1] == Ack()
    assert answer[1] == msgspec.structs.replace(ANSWERED, journalled=True)
    assert (ack[0].reply_to, answer[0].reply_to) == (7, 7)
    assert (answer[0].topic, answer[0].seq, answer[0].epoch) == ("answer", 1, bus.epoch)
    assert answer[0].ttl_ms == ANSWERED.ttl_ms


def test_hostile_bytes_are_counted_and_dropped(bus: Bus, dealer: zmq.Socket[bytes]) -> None:
    dice = random.Random(4)
    good = packed(QUESTION)
    for number in range(3000):
        if number % 3:
            blob = dice.randbytes(dice.randrange(200))
        else:
            place = dice.randrange(len(good))
            blob = good[:place]
        dealer.send_multipart([blob] * dice.choice([1, 1, 1, 2, 5]))
        # Before the queues are full: we are the sender as well, and would wait for ourselves.
        while number % 50 == 0 and bus.hostile < number:
            assert bus.poll(100) == []
    dealer.send(b"\x91" * 200_000)
    dealer.send(packed(ANSWERED))
    dealer.send(packed(QUESTION, origin="replay"))
    dealer.send(packed(QUESTION, version=2))
    dealer.send(good)
    assert [request.message for request in requests(bus)] == [QUESTION]
    assert bus.hostile == 3004


def test_an_oversized_message_costs_its_sender_the_connection(
    bus: Bus, dealer: zmq.Socket[bytes]
) -> None:
    dealer.send(b"x" * (MAX_MESSAGE_BYTES + 1))
    assert bus.poll(300) == []
    dealer.send(packed(QUESTION))
    assert [request.message for request in requests(bus)] == [QUESTION]


def test_raw_bytes_on_a_tcp_port_are_no_message(tmp_path: Path) -> None:
    """Without a domain for ZAP, libzmq takes them for the protocol of ZeroMQ 2, and reads on."""
    dice = random.Random(5)
    local = "tcp://127.0.0.1:*"
    with Bus(local, local, Journal(tmp_path / "j.db")) as bus, zmq.Context() as context:
        for endpoint in [bus.stream, bus.requests] * 100:
            port = int(endpoint.rpartition(":")[2])
            with socket.create_connection(("127.0.0.1", port)) as raw:
                greeting = dice.choice(
                    [b"", b"\x01\x00", b"\xff" + bytes(8), b"POST / HTTP/1.1\r\n"]
                )
                raw.sendall(greeting + dice.randbytes(300))
            assert bus.poll(1) == []
        assert bus.hostile == 0
        with context.socket(zmq.DEALER) as dealer:
            dealer.connect(bus.requests)
            dealer.send(packed(QUESTION))
            assert [request.message for request in requests(bus)] == [QUESTION]


def test_subscribers_may_say_only_which_topics(bus: Bus) -> None:
    with zmq.Context() as context, context.socket(zmq.XSUB) as peer:
        peer.connect(bus.stream)
        for upstream in (b"\x02hello", b"hello", b"\x01" + b"x" * 300):
            peer.send(upstream)
        for topic in range(100):
            peer.send(b"\x01nonsense %d" % topic)
        peer.send(b"\x01" + HEALTH.wire)
        deadline_s = time.monotonic() + 5
        while not bus.subscribed(HEALTH) and time.monotonic() < deadline_s:
            bus.poll(100)
        assert bus.subscribed(HEALTH)
        assert not bus.subscribed(ANSWER)
        assert bus.hostile >= 2
        assert len(bus.subscriptions.prefixes) == 1


def ended(peer: zmq.Socket[bytes], bus: Bus) -> bool:
    """Whether the bus ends this peer's connection, within twenty seconds."""
    with peer.get_monitor_socket(zmq.EVENT_DISCONNECTED) as ends:
        deadline_s = time.monotonic() + 20
        while not ends.poll(0) and time.monotonic() < deadline_s:
            bus.poll(10)
        return bool(ends.poll(0))


def test_who_subscribes_to_a_thousand_things_that_are_not_there_is_cut_off(bus: Bus) -> None:
    """libzmq keeps every prefix as long as the connection: memory would be the peer's to take."""
    with zmq.Context() as context, Client(bus.stream, bus.requests) as client:
        client.subscribe([HEALTH])
        with context.socket(zmq.XSUB) as peer:
            peer.sndhwm = peer.linger = 0
            peer.connect(bus.stream)
            for topic in range(2000):
                peer.send(b"\x01nonsense %d" % topic)
            assert ended(peer, bus)
        assert bus.hostile == 1
        deadline_s = time.monotonic() + 20
        while client.receive(0.01) is None:  # it comes back by itself
            assert time.monotonic() < deadline_s
            bus.poll(10)
            bus.publish(HEALTH, Health(uptime_s=1))


def test_an_upstream_message_of_many_bytes_is_never_read(bus: Bus) -> None:
    with zmq.Context() as context, context.socket(zmq.XSUB) as peer:
        peer.linger = 0
        peer.connect(bus.stream)
        peer.send(b"\x01" + bytes(1000))
        assert ended(peer, bus)
        assert bus.hostile == 0


def test_a_flood_may_not_keep_the_front_process(bus: Bus, dealer: zmq.Socket[bytes]) -> None:
    for _ in range(1000):
        dealer.send(packed(QUESTION))
    time.sleep(0.2)
    assert 0 < len(bus.poll(100)) <= 64
    assert len(requests(bus, 900)) >= 900


def test_a_reply_to_a_peer_that_left_is_counted(bus: Bus) -> None:
    with zmq.Context() as context, context.socket(zmq.DEALER) as dealer:
        dealer.connect(bus.requests)
        dealer.send(packed(QUESTION))
        (request,) = requests(bus)
    deadline_s = time.monotonic() + 5
    while not bus.undelivered and time.monotonic() < deadline_s:
        bus.poll(10)
        bus.reply(request, Ack())
    assert bus.undelivered


def test_a_topic_carries_its_messages_only(bus: Bus) -> None:
    with pytest.raises(TypeError, match="health does not carry Answer"):
        bus.publish(HEALTH, ANSWERED)
    with pytest.raises(TypeError, match="delta does not carry Health"):
        bus.publish(DELTA, Health(uptime_s=0))


@pytest.mark.parametrize("scheme", ["ipc", "tcp"])
def test_a_second_runtime_cannot_take_the_place(scheme: str, tmp_path: Path) -> None:
    stream, other = f"ipc://{tmp_path}/s", f"ipc://{tmp_path}/r"
    if scheme == "tcp":
        stream = other = "tcp://127.0.0.1:*"
    with Bus(stream, other, Journal(tmp_path / "j.db")) as first:
        for taken in (first.stream, first.requests):
            with pytest.raises(PortInUse, match="is in use"):
                Bus("tcp://127.0.0.1:*", taken, Journal(tmp_path / "j.db"))
            with pytest.raises(PortInUse, match="is in use"):
                Bus(taken, "tcp://127.0.0.1:*", Journal(tmp_path / "j.db"))
        with Client(first.stream, first.requests) as client:
            assert any(isinstance(m, Health) for m in heard(first, client, beats(first)))
    with Bus(first.stream, first.requests, Journal(tmp_path / "j.db")) as again:
        assert again.epoch > first.epoch


def beats(bus: Bus) -> Iterator[object]:
    yield bus.publish(HEALTH, Health(uptime_s=1))


def test_a_port_that_is_taken_while_connections_are_ended_is_a_fault_until_it_is_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(tmp_path / "j.db")
    requests_end = f"ipc://{tmp_path}/r"
    with Bus("tcp://127.0.0.1:*", requests_end, journal) as bus, zmq.Context() as context:
        thief, stranger = context.socket(zmq.PAIR), context.socket(zmq.SUB)
        unbind = zmq.Socket.unbind

        def unbound(socket: zmq.Socket[bytes], endpoint: str) -> None:
            unbind(socket, endpoint)
            if endpoint == bus.stream and not thief.closed:
                take(thief, endpoint)

        monkeypatch.setattr(zmq.Socket, "unbind", unbound)
        with thief, stranger:
            stranger.set_hwm(0)
            stranger.connect(bus.stream)
            for number in range(1200):  # more than are remembered: it loses its connection
                stranger.subscribe(f"strange {number}")
            until(lambda: bool(bus.poll(5) or faults(journal)))
        assert faults(journal) == [("port", False)]
        until(lambda: bool(bus.poll(5) or len(faults(journal)) > 1))
        assert faults(journal) == [("port", False), ("port", True)]
        with Client(bus.stream, bus.requests) as client:
            assert any(isinstance(m, Health) for m in heard(bus, client, beats(bus)))


def take(thief: zmq.Socket[bytes], endpoint: str) -> None:
    """libzmq lets a listener go in its own thread: take its place as soon as that is done."""

    def taken() -> bool:
        try:
            thief.bind(endpoint)
        except zmq.ZMQError:
            return False
        return True

    until(taken)


def until(condition: Callable[[], bool]) -> None:
    end_s = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end_s


def faults(journal: Journal) -> list[tuple[str, bool]]:
    said = [unpack(row.envelope)[1] for row in journal.after("fault") if row.envelope]
    return [(fault.code, fault.cleared) for fault in said if isinstance(fault, Fault)]


def test_a_socket_file_left_by_a_crash_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / "s").touch()
    (tmp_path / "s.lock").touch()
    Bus(f"ipc://{tmp_path}/s", f"ipc://{tmp_path}/r", Journal(tmp_path / "j.db")).close()


def test_the_folder_it_makes_is_private(tmp_path: Path) -> None:
    run = tmp_path / "deep" / "run"
    with Bus(f"ipc://{run}/s", f"ipc://{run}/r", Journal(tmp_path / "j.db")):
        assert run.stat().st_mode & 0o777 == 0o700
    assert {path.name for path in run.iterdir()} == {"s.lock", "r.lock"}


@pytest.mark.parametrize(
    ("endpoint", "says"),
    [
        ("tcp://0.0.0.0:5555", "not on this machine"),
        ("tcp://*:5555", "not on this machine"),
        ("ipc:///proc/nothing/s", "cannot hold a socket"),
        ("udp://127.0.0.1:1", "no endpoint"),
    ],
)
def test_an_address_it_may_not_use(endpoint: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(AddressRefused, match=says) as refused:
        Bus(endpoint, f"ipc://{tmp_path}/r", Journal(tmp_path / "j.db"))
    assert refused.value.exit_code == 2


def test_the_folder_of_somebody_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir(mode=0o777)
    os.chmod(tmp_path / "open", 0o777)
    with pytest.raises(UserError, match="only you can enter"):
        Bus(f"ipc://{tmp_path}/open/s", f"ipc://{tmp_path}/r", Journal(tmp_path / "j.db"))


def test_without_a_journal_it_publishes_and_says_so(tmp_path: Path) -> None:
    blocked = tmp_path / "not-a-folder"
    blocked.touch()
    journal = Journal(blocked / "j.db")
    endpoints = (f"ipc://{tmp_path}/s", f"ipc://{tmp_path}/r")
    with Bus(*endpoints, journal) as bus, Client(*endpoints) as client:
        assert bus.epoch.startswith("0000000000-")
        messages = heard(bus, client, lose_and_find_the_disk(bus, blocked))
    answers = [m.journalled for m in messages if isinstance(m, Answer)]
    faults = [(m.code, m.cleared) for m in messages if isinstance(m, Fault)]
    assert answers == [False, False, True]
    assert faults == [("journal", False), ("journal", True)]
    assert client.gaps == {"answer": 0, "fault": 0}


def lose_and_find_the_disk(bus: Bus, blocked: Path) -> Iterator[object]:
    yield bus.publish(ANSWER, ANSWERED)
    yield bus.publish(ANSWER, ANSWERED)
    assert not bus.journal_ok
    blocked.unlink()
    yield bus.publish(ANSWER, ANSWERED)
    assert bus.journal_ok
