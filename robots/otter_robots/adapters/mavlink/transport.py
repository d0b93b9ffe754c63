"""Bytes to and from the vehicle: UDP, TCP or a serial line, chosen by the address.

It knows addresses, not MAVLink. `receive` gives what came, a piece each: a datagram is a piece of
its own, so that rubbish in one cannot swallow the beginning of the next. Nothing here blocks, and
a line that fails is silent, not an error: the link above notices that nobody is there.
"""

from __future__ import annotations

import contextlib
import os
import socket
import termios
import time
from collections.abc import Callable
from typing import Protocol

from otter_robots.errors import UserError

MAX_BYTES = 65_536
# Pieces per call: a flood may not keep the adapter from its heartbeat.
MOST_PIECES = 256
RECONNECT_S = 1.0


class Transport(Protocol):
    """A line to the vehicle; `whole` says that no message goes on from one piece to the next."""

    whole: bool

    def receive(self) -> list[tuple[bytes, object]]:
        """What came since, with a token for its sender."""

    def believe(self, sender: object) -> None:
        """The vehicle is heard from this sender: from now on it is where we send."""

    def send(self, data: bytes) -> None:
        """Send, or drop where the line is full, broken or nobody is there yet."""

    def close(self) -> None:
        """Let go of it."""


def open_transport(address: str) -> Transport:
    """The transport of an address as `Link` describes it; raises UserError."""
    kind, _, rest = address.partition(":")
    if kind == "serial":
        device, _, baud = rest.rpartition(":")
        return Serial(device, _number(baud, address, 4_000_000))
    host, _, port = rest.rpartition(":")
    if kind not in KINDS or not host:
        raise UserError(
            f"{address!r} is no address of a vehicle; write udpin:HOST:PORT, udpout:HOST:PORT, "
            "tcp:HOST:PORT or serial:DEVICE:BAUD"
        )
    return KINDS[kind](host, _number(port, address, 65_535))


def _number(word: str, address: str, most: int) -> int:
    if word.isdecimal() and int(word) <= most:
        return int(word)
    raise UserError(f"{address!r} ends in {word!r}; expected a number up to {most}")


class UdpIn:
    """Waits on a port; sends to where the vehicle was last believed to be heard."""

    whole = True

    def __init__(self, host: str, port: int) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._peer: tuple[str, int] | None = None
        try:
            self._socket.bind((host, port))
        except OSError as error:
            self._socket.close()
            raise UserError(
                f"udpin:{host}:{port} cannot be opened ({error.strerror or error}); choose another"
            ) from error

    def receive(self) -> list[tuple[bytes, object]]:
        pieces: list[tuple[bytes, object]] = []
        with contextlib.suppress(OSError):
            while len(pieces) < MOST_PIECES:
                pieces.append(self._socket.recvfrom(MAX_BYTES))
        return pieces

    def believe(self, sender: object) -> None:
        assert isinstance(sender, tuple)
        self._peer = sender

    def send(self, data: bytes) -> None:
        if self._peer is not None:
            with contextlib.suppress(OSError):
                self._socket.sendto(data, self._peer)

    def close(self) -> None:
        self._socket.close()


class UdpOut:
    """Sends to a host and port, and hears nobody else: the socket is connected."""

    whole = True

    def __init__(self, host: str, port: int) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        try:
            self._socket.connect((host, port))
        except OSError as error:
            self._socket.close()
            raise UserError(
                f"udpout:{host}:{port} cannot be opened ({error.strerror or error}); "
                "check the host's name"
            ) from error

    def receive(self) -> list[tuple[bytes, object]]:
        pieces: list[tuple[bytes, object]] = []
        with contextlib.suppress(BlockingIOError):
            while len(pieces) < MOST_PIECES:
                # Nobody listening there yet is told as an error, of which there may be several.
                with contextlib.suppress(ConnectionError):
                    pieces.append((self._socket.recv(MAX_BYTES), None))
        return pieces

    def believe(self, sender: object) -> None:
        """There is one sender only."""

    def send(self, data: bytes) -> None:
        with contextlib.suppress(OSError):
            self._socket.send(data)

    def close(self) -> None:
        self._socket.close()


class Tcp:
    """Connects to a host and port, again and again while nobody is there."""

    whole = False

    def __init__(self, host: str, port: int) -> None:
        self._to = (host, port)
        self._socket: socket.socket | None = None
        self._retry_at_s = 0.0

    def receive(self) -> list[tuple[bytes, object]]:
        if self._socket is None:
            self._connect()
        if self._socket is None:
            return []
        try:
            data = self._socket.recv(MAX_BYTES)
        except BlockingIOError:
            return []
        except OSError:
            data = b""
        if not data:
            self.close()
            return []
        return [(data, None)]

    def believe(self, sender: object) -> None:
        """There is one sender only."""

    def send(self, data: bytes) -> None:
        if self._socket is None:
            return
        try:
            sent = self._socket.send(data)
        except BlockingIOError:
            return
        except OSError:
            sent = -1
        if sent != len(data):
            self.close()  # the rest of half a message would be read as the start of the next

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _connect(self) -> None:
        if time.monotonic() < self._retry_at_s:
            return
        self._retry_at_s = time.monotonic() + RECONNECT_S
        with contextlib.suppress(OSError):
            self._socket = socket.create_connection(self._to, timeout=0.5)
            self._socket.setblocking(False)


class Serial:
    """A serial line, raw, 8N1, without flow control, opened again when its device comes back."""

    whole = False

    def __init__(self, device: str, baud: int) -> None:
        self._device = device
        speed = getattr(termios, f"B{baud}", None)
        if not speed:
            raise UserError(f"{baud} is no speed of a serial line; try 57600, 115200 or 921600")
        self._speed: int = speed
        self._retry_at_s = 0.0
        self._descriptor: int | None = None
        try:
            self._open()
        except OSError as error:
            raise UserError(
                f"{device} cannot be opened ({error.strerror}); plug it in, or give yourself "
                "the right to it (group dialout)"
            ) from error

    def receive(self) -> list[tuple[bytes, object]]:
        if self._descriptor is None:
            self._reopen()
        if self._descriptor is None:
            return []
        try:
            data = os.read(self._descriptor, MAX_BYTES)
        except BlockingIOError:
            return []
        except OSError:
            self.close()  # unplugged
            return []
        return [(data, None)] if data else []

    def believe(self, sender: object) -> None:
        """There is one sender only."""

    def send(self, data: bytes) -> None:
        if self._descriptor is None:
            return
        try:
            os.write(self._descriptor, data)
        except BlockingIOError:
            return
        except OSError:
            self.close()

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _open(self) -> None:
        descriptor = os.open(self._device, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        try:
            _make_raw(descriptor, self._speed)
        except (OSError, termios.error) as error:
            os.close(descriptor)
            raise OSError(25, "it is no serial line") from error
        self._descriptor = descriptor

    def _reopen(self) -> None:
        if time.monotonic() < self._retry_at_s:
            return
        self._retry_at_s = time.monotonic() + RECONNECT_S
        with contextlib.suppress(OSError):
            self._open()


KINDS: dict[str, Callable[[str, int], Transport]] = {
    "udpin": UdpIn,
    "udpout": UdpOut,
    "tcp": Tcp,
}


def _make_raw(descriptor: int, speed: int) -> None:
    _, _, control, _, _, _, characters = termios.tcgetattr(descriptor)
    control &= ~(termios.CSIZE | termios.PARENB | termios.CSTOPB | termios.CRTSCTS)
    control |= termios.CS8 | termios.CREAD | termios.CLOCAL
    characters[termios.VMIN], characters[termios.VTIME] = 0, 0
    termios.tcsetattr(descriptor, termios.TCSANOW, [0, 0, control, 0, speed, speed, characters])
