"""The line to the vehicle: what may be sent, who is believed, and signing, on real sockets.

The other end is pymavlink as it is shipped, so that signing is checked against another
implementation than ours.
"""

from __future__ import annotations

import os
import pty
import random
import select
import socket
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

common: Any = pytest.importorskip("pymavlink.dialects.v20.common")

from otter_robots.adapters.mavlink import signing as ours  # noqa: E402
from otter_robots.adapters.mavlink.config import Link, Signing  # noqa: E402
from otter_robots.adapters.mavlink.signing import Signer, make_key, read_key, stamp_now  # noqa: E402
from otter_robots.adapters.mavlink.transport import open_transport  # noqa: E402
from otter_robots.adapters.mavlink.vehicle import MAY_SEND, Vehicle  # noqa: E402
from otter_robots.errors import UserError  # noqa: E402

HEARTBEAT = common.MAVLink_heartbeat_message(2, 12, 128, 0, 4, 3)


class Autopilot:
    """The reference implementation's end of a UDP link."""

    def __init__(self, key: bytes | None = None, stamp: int | None = None) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.socket.settimeout(10)
        self.mav = common.MAVLink(None, 1, 1)
        if key is not None:
            self.mav.signing.secret_key = key
            self.mav.signing.sign_outgoing = True
            self.mav.signing.timestamp = stamp_now() if stamp is None else stamp

    @property
    def address(self) -> str:
        return f"udpout:127.0.0.1:{self.socket.getsockname()[1]}"

    def meet(self, vehicle: Vehicle) -> None:
        """Learn where the vehicle's companion is."""
        vehicle.send(HEARTBEAT)
        data, self.to = self.socket.recvfrom(300)
        assert [one.get_type() for one in self.mav.parse_buffer(data)] == ["HEARTBEAT"]

    def beat(self) -> bytes:
        data: bytes = HEARTBEAT.pack(self.mav)
        self.socket.sendto(data, self.to)
        return data


def arrives(vehicle: Vehicle, changed: Callable[[], object]) -> list[str]:
    """What is accepted until something changed."""
    accepted: list[str] = []
    until_s = time.monotonic() + 20
    while not changed() and time.monotonic() < until_s:
        accepted += [one.get_type() for one in vehicle.receive(time.monotonic())]
    assert changed()
    return accepted


@pytest.fixture
def autopilot() -> Iterator[Callable[..., Autopilot]]:
    made: list[Autopilot] = []

    def make(*args: Any, **kwargs: Any) -> Autopilot:
        made.append(Autopilot(*args, **kwargs))
        return made[-1]

    yield make
    for one in made:
        one.socket.close()


def test_no_setpoint_no_control_and_no_command_can_be_sent(
    autopilot: Callable[..., Autopilot],
) -> None:
    vehicle = Vehicle(Link(address=autopilot().address), Signing())
    words = ("SETPOINT", "SET_", "MANUAL", "RC_", "CONTROL", "COMMAND_LONG", "COMMAND_INT", "PARAM")
    steering = {
        number: kind
        for number, kind in common.mavlink_map.items()
        if any(word in kind.msgname for word in words)
    }
    assert {70, 76, 82, 84, 86, 69} <= set(steering)
    assert not MAY_SEND & set(steering)
    for number, kind in common.mavlink_map.items():
        if number not in MAY_SEND:
            message = object.__new__(kind)
            common.MAVLink_message.__init__(message, number, kind.msgname)
            with pytest.raises(AssertionError, match="is never sent"):
                vehicle.send(message)
    vehicle.close()


def test_a_dry_run_sends_nothing(autopilot: Callable[..., Autopilot]) -> None:
    one = autopilot()
    for mute in (True, False):
        vehicle = Vehicle(Link(address=one.address), Signing(), mute=mute)
        vehicle.send(HEARTBEAT)
        assert bool(select.select([one.socket], [], [], 0.2)[0]) != mute
        vehicle.close()


def test_only_the_autopilot_decides_where_we_send(autopilot: Callable[..., Autopilot]) -> None:
    vehicle = Vehicle(Link(address="udpin:127.0.0.1:0"), Signing())
    to = vehicle._transport._socket.getsockname()  # type: ignore[attr-defined]
    true, stranger = autopilot(), autopilot()
    stranger.mav.srcComponent = 190  # a ground station
    for one in (true, stranger):
        one.to = to
        one.beat()
    accepted: list[Any] = []
    until_s = time.monotonic() + 20
    while len(accepted) < 2 and time.monotonic() < until_s:
        accepted += vehicle.receive(time.monotonic())
    assert [one.get_srcComponent() for one in accepted] == [1, 190]
    vehicle.send(HEARTBEAT)
    assert true.socket.recvfrom(300)[1] == to
    vehicle.close()


def test_mutated_and_random_packets_do_no_harm(autopilot: Callable[..., Autopilot]) -> None:
    one = autopilot()
    vehicle = Vehicle(Link(address=one.address), Signing())
    rng, real = random.Random(3), bytearray(HEARTBEAT.pack(one.mav))
    for number in range(20_000):
        data = bytearray(real) if number % 2 else bytearray(rng.randbytes(rng.randrange(300)))
        for _ in range(rng.randrange(1, 4)):
            if data:
                data[rng.randrange(len(data))] = rng.randrange(256)
        vehicle._parse(bytes(data))
    assert vehicle.garbage > 10_000
    assert [message.get_type() for message in vehicle._parse(bytes(real))] == ["HEARTBEAT"]
    vehicle.close()


def test_unsigned_wrongly_signed_and_replayed_packets_are_refused_and_counted(
    autopilot: Callable[..., Autopilot], tmp_path: Path
) -> None:
    path = tmp_path / "key"
    make_key(path)
    true = autopilot(read_key(path))
    config = Link(address=true.address), Signing(key=str(path))
    vehicle = Vehicle(*config)
    true.meet(vehicle)  # pymavlink accepts our signature
    captured = true.beat()
    assert arrives(vehicle, lambda: vehicle.heard_at_s) == ["HEARTBEAT"]

    unsigned = HEARTBEAT.pack(common.MAVLink(None, 1, 1))
    forger = common.MAVLink(None, 1, 1)
    forger.signing.secret_key, forger.signing.sign_outgoing = bytes(32), True
    forger.signing.timestamp = stamp_now() + 10**9  # hours ahead: it must not silence the true one
    for data in (captured, unsigned, HEARTBEAT.pack(forger)):
        before = vehicle.refused
        true.socket.sendto(data, true.to)
        assert arrives(vehicle, lambda before=before: vehicle.refused > before) == []  # type: ignore[misc]
    assert (vehicle.refused, vehicle.garbage) == (3, 0)
    true.beat()
    heard = vehicle.heard_at_s
    assert arrives(vehicle, lambda: vehicle.heard_at_s != heard) == ["HEARTBEAT"]
    vehicle.close()

    again = Vehicle(*config)
    true.meet(again)
    true.socket.sendto(captured, true.to)
    assert arrives(again, lambda: again.refused) == []  # after a restart, too
    again.close()


def test_the_first_packet_may_be_a_minute_old_and_no_more(tmp_path: Path) -> None:
    key = bytes(range(32))
    signer = Signer(1, 191, key, 0, tmp_path / "stamps")
    for age_s, passes in [(120, False), (30, True), (0, True)]:
        sender = common.MAVLink(None, 1, age_s + 1)
        sender.signing.secret_key, sender.signing.sign_outgoing = key, True
        sender.signing.timestamp = stamp_now() - age_s * ours.PER_S
        packet = bytearray(HEARTBEAT.pack(sender))
        assert signer.check_signature(packet, 1, age_s + 1) == passes


def test_a_key_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "key"
    make_key(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(read_key(path)) == 32
    with pytest.raises(UserError, match="does not exist"):
        make_key(path)
    path.chmod(0o640)
    with pytest.raises(UserError, match="chmod 600"):
        read_key(path)
    path.chmod(0o600)
    (tmp_path / "link").symlink_to(path)
    with pytest.raises(UserError, match="cannot be read"):
        read_key(tmp_path / "link")
    path.write_text("short")
    with pytest.raises(UserError, match="64 hexadecimal digits"):
        read_key(path)


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("udp:1.2.3.4:5", "is no address of a vehicle"),
        ("udpin:14540", "is no address of a vehicle"),
        ("udpin:127.0.0.1:x", "expected a number up to 65535"),
        ("tcp:127.0.0.1:70000", "expected a number up to 65535"),
        ("serial:/dev/null:115200", "it is no serial line"),
        ("serial:/dev/none:115200", "No such file"),
        ("serial:/dev/null:0", "no speed of a serial line"),
        ("serial:/dev/null:12345", "no speed of a serial line"),
    ],
)
def test_an_address_that_cannot_be_used_is_said(address: str, says: str) -> None:
    with pytest.raises(UserError, match=says):
        open_transport(address)


def test_a_serial_line_carries_every_byte() -> None:
    controller, device = pty.openpty()
    line = open_transport(f"serial:{os.ttyname(device)}:115200")
    sent = bytes(range(256))
    line.send(sent)
    got = b""
    while len(got) < len(sent):
        assert select.select([controller], [], [], 10)[0]
        got += os.read(controller, 1000)
    assert got == sent
    os.write(controller, sent)
    back = b""
    until_s = time.monotonic() + 10
    while len(back) < len(sent) and time.monotonic() < until_s:
        back += b"".join(data for data, _ in line.receive())
    assert back == sent
    line.close()
    os.close(controller)
    os.close(device)


def test_tcp_connects_again_when_the_vehicle_comes_back() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(10)
        line = open_transport(f"tcp:127.0.0.1:{server.getsockname()[1]}")
        for _ in range(2):
            assert line.receive() == []
            with server.accept()[0] as peer:
                peer.sendall(b"hello")
                got: list[tuple[bytes, object]] = []
                until_s = time.monotonic() + 10
                while not got and time.monotonic() < until_s:
                    got = line.receive()
                assert got[0][0] == b"hello"
                line.send(b"back")
                assert peer.recv(10) == b"back"
            line._retry_at_s = 0.0  # type: ignore[attr-defined]
            while line._socket is not None:  # type: ignore[attr-defined]
                line.receive()
        line.close()
