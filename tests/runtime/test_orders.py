"""Orders: carried out once and in time, and copies of them never, not even after a restart."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import msgspec
import pytest
import zmq

from otter_robots.client import Client
from otter_robots.envelope import Envelope, pack, seal, unpack
from otter_robots.errors import NobodyListening, UserError
from otter_robots.messages import (
    REPLAYED,
    STALE,
    Ack,
    Command,
    Instruct,
    Message,
    Order,
    Stamp,
)
from otter_robots.topics import ANSWER, COMMAND
from otter_runtime import audit
from otter_runtime.bus import Bus
from otter_runtime.journal import Journal
from otter_runtime.orders import CLIENTS, Orders

Publish = Callable[..., AbstractContextManager[Any]]
NOW_NS = 10**12
TTL_MS = 500.0


def stamp(client: str = "arm", epoch: str = "run", age_ms: float = 0.0) -> Stamp:
    return Stamp(client=client, epoch=epoch, seq=NOW_NS - round(age_ms * 1e6), ttl_ms=TTL_MS)


def reason(orders: Orders, given: Stamp, now_ns: int = NOW_NS) -> str:
    refusal = orders.refusal(given, now_ns)
    return refusal.reason if refusal else ""


def test_an_order_counts_once() -> None:
    orders = Orders("run")
    assert reason(orders, stamp()) == ""
    assert reason(orders, stamp()) == REPLAYED
    assert reason(orders, stamp(age_ms=1)) == REPLAYED
    assert reason(orders, stamp(client="leg")) == ""


@pytest.mark.parametrize(
    "late",
    [stamp(epoch="another"), stamp(epoch=""), stamp(age_ms=TTL_MS + 1), stamp(age_ms=-1001)],
)
def test_an_order_out_of_its_time_is_stale(late: Stamp) -> None:
    orders = Orders("run")
    assert reason(orders, late) == STALE
    # and leaves no trace: the next one in time is taken
    assert reason(orders, stamp(client=late.client)) == ""


def test_clients_that_were_forgotten_cannot_be_replayed() -> None:
    orders = Orders("run")
    assert reason(orders, stamp("first", age_ms=1)) == ""
    for number in range(CLIENTS):
        assert reason(orders, stamp(f"client {number}")) == ""
    assert reason(orders, stamp("first", age_ms=1)) == REPLAYED
    assert reason(orders, stamp("first")) == ""


# Over a bus.


@pytest.fixture
def endpoints(tmp_path: Path) -> tuple[str, str]:
    return f"ipc://{tmp_path}/s", f"ipc://{tmp_path}/r"


@pytest.fixture
def bus(endpoints: tuple[str, str], tmp_path: Path) -> Iterator[Bus]:
    with Bus(*endpoints, Journal(tmp_path / "j.db")) as bus:
        yield bus


def ask(bus: Bus, dealer: zmq.Socket[bytes], data: bytes) -> tuple[list[Order], Ack]:
    """What the bus gives to be carried out of these bytes, and the reply to them."""
    dealer.send(data)
    taken = []
    until_s = time.monotonic() + 10
    while not dealer.poll(0) and time.monotonic() < until_s:
        for request in bus.poll(50):
            assert isinstance(request.message, Order)
            taken.append(request.message)
            bus.reply(request, Ack())
    _, ack = unpack(dealer.recv())
    assert isinstance(ack, Ack)
    return taken, ack


def packed(order: Order) -> bytes:
    return pack(seal(order, topic="request", epoch="e", seq=1))


def fresh(bus: Bus) -> Stamp:
    return Stamp(client="arm", epoch=bus.epoch, seq=time.monotonic_ns(), ttl_ms=60_000.0)


ORDERS = [Command(name="stop"), Instruct(text="go", interval_s=1.0)]


@pytest.mark.parametrize("order", ORDERS, ids=lambda order: type(order).__name__)
def test_captured_bytes_are_worth_nothing_even_after_a_restart(
    order: Order, endpoints: tuple[str, str], tmp_path: Path
) -> None:
    with zmq.Context() as context, context.socket(zmq.DEALER) as dealer:
        dealer.connect(endpoints[1])
        with Bus(*endpoints, Journal(tmp_path / "j.db")) as bus:
            captured = packed(msgspec.structs.replace(order, stamp=fresh(bus)))
            assert len(ask(bus, dealer, captured)[0]) == 1
            taken, ack = ask(bus, dealer, captured)
            assert (taken, ack.ok, ack.reason) == ([], False, REPLAYED)
        with Bus(*endpoints, Journal(tmp_path / "j.db")) as again:
            taken, ack = ask(again, dealer, captured)
            assert (taken, ack.ok, ack.reason) == ([], False, STALE)


@pytest.mark.parametrize("order", ORDERS, ids=lambda order: type(order).__name__)
def test_an_order_without_a_stamp_is_refused(bus: Bus, order: Order) -> None:
    with zmq.Context() as context, context.socket(zmq.DEALER) as dealer:
        dealer.connect(bus.requests)
        taken, ack = ask(bus, dealer, packed(order))
        assert (taken, ack.reason) == ([], STALE)


def test_whether_it_is_stopped_survives_a_restart(
    endpoints: tuple[str, str], tmp_path: Path
) -> None:
    for name, stopped in [("wave", False), ("stop", True), ("wave", True), ("resume", False)]:
        with Bus(*endpoints, Journal(tmp_path / "j.db")) as bus:
            bus.publish(COMMAND, Command(name=name))
        with Bus(*endpoints, Journal(tmp_path / "j.db")) as again:
            assert again.stopped() == stopped


# Between processes.


def hear(bus: Client, count: int) -> list[tuple[Envelope, Message]]:
    """The next messages; fails after twenty seconds of silence."""
    heard = []
    for _ in range(count):
        one = bus.receive(20)
        assert one is not None, "the publisher is silent"
        heard.append(one)
    return heard


def commands(bus: Client, last: str) -> list[Command]:
    """The commands heard up to the one of this name."""
    heard: list[Command] = []
    until_s = time.monotonic() + 60
    while [command.name for command in heard[-1:]] != [last]:
        assert time.monotonic() < until_s, f"{last} does not come, only {heard}"
        heard += [message for _, message in hear(bus, 1) if isinstance(message, Command)]
    return heard


def connected(running: Any) -> Client:
    return Client(running.stream, running.requests)


def test_a_command_reaches_every_robot_and_goes_on_after_a_restart(publish: Publish) -> None:
    with publish() as running, connected(running) as robot, connected(running) as operator:
        robot.subscribe([COMMAND, ANSWER])
        ((first, _),) = hear(robot, 1)
        operator.command("wave", {"times": 2, "hand": "left", "fast": True})
        heard = commands(robot, "wave")
        running.kill()
        with publish():
            # What the first one said before it was killed may still be on its way.
            while hear(robot, 1)[0][0].epoch == first.epoch:
                pass
            # Its stamp is for the run before: it learns the new one by being refused.
            operator.stop()
            operator.resume()
            heard += commands(robot, "resume")
    assert [(message.name, message.arguments) for message in heard] == [
        ("wave", {"times": 2, "hand": "left", "fast": True}), ("stop", {}), ("resume", {})
    ]  # fmt: skip
    assert all(message.journalled for message in heard)


def exchange(dealer: zmq.Socket[bytes], data: bytes) -> tuple[Envelope, Ack]:
    """Send these bytes and give what comes back for them."""
    dealer.send(data)
    assert dealer.poll(20_000)
    envelope, ack = unpack(dealer.recv())
    assert isinstance(ack, Ack)
    return envelope, ack


def test_captured_bytes_are_refused_by_the_process_that_comes_after_kill_9(
    publish: Publish,
) -> None:
    grip = Command(name="open-gripper")
    with zmq.Context() as context, context.socket(zmq.DEALER) as dealer:
        dealer.linger = 0
        with publish() as running:
            dealer.connect(running.requests)
            heard, first = exchange(dealer, packed(grip))
            assert first.reason == STALE  # it names no run; the refusal tells run and clock
            now = Stamp(client="arm", epoch=heard.epoch, seq=heard.mono_ns, ttl_ms=60_000.0)
            captured = packed(msgspec.structs.replace(grip, stamp=now))
            assert exchange(dealer, captured)[1].ok
            assert exchange(dealer, captured)[1].reason == REPLAYED
            running.kill()
            with publish():
                assert exchange(dealer, captured)[1].reason == STALE
        journal = Journal(running.journal)
        assert len(list(journal.backwards("command"))) == 1
        journal.close()


def test_what_was_said_to_have_failed_is_not_carried_out_later(publish: Publish) -> None:
    with publish() as running, connected(running) as robot, connected(running) as operator:
        robot.subscribe([COMMAND, ANSWER])
        hear(robot, 1)
        operator.command("first")
        running.process.send_signal(signal.SIGSTOP)
        with pytest.raises(NobodyListening):
            operator.command("late")
        running.process.send_signal(signal.SIGCONT)
        while True:
            try:
                operator.command("last")
                break
            except NobodyListening:
                continue
        names = [message.name for message in commands(robot, "last")]
    assert names[0] == "first"
    assert "late" not in names


def test_two_of_one_name_do_not_stand_in_each_others_way(publish: Publish) -> None:
    with publish() as running, connected(running) as one, connected(running) as other:
        for number in range(20):
            (one, other)[number % 2].command(f"command {number}")
        entries = [e for e in audit.read(running.journal.parent) if e.what == "order"]
    # One whose stamp the other's had overtaken was refused, stamped anew, and carried out then.
    assert [e.detail.split("  ")[0] for e in entries] == [f"command {n}" for n in range(20)]


@pytest.mark.parametrize(
    "arguments",
    [{"x": float("nan")}, {"x": 1e300}, {"": 1}, {"x": "y" * 2000}, {str(n): n for n in range(17)}],
)
def test_arguments_have_bounds(arguments: dict[str, Any], tmp_path: Path) -> None:
    nobody = Client(f"ipc://{tmp_path}/s", f"ipc://{tmp_path}/r")
    with nobody as bus, pytest.raises(UserError, match="would refuse"):
        bus.command("move", arguments)
