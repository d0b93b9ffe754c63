"""What the front and the brain say to each other, and the socket they say it over.

Messages are msgspec MessagePack behind a four-byte length; pixels never travel here (see `slots`).
Both ends are ours and of one version, so there is no versioning.
"""

from __future__ import annotations

import contextlib
import select
import socket
import struct
from typing import Any

import msgspec

from otter_robots.messages import Image
from otter_robots.skill import Choice, Offer
from otter_runtime.errors import OtterError
from otter_runtime.frame import Stamp

LENGTH = struct.Struct("<I")
READ_BYTES = 1 << 16


class Show(msgspec.Struct, frozen=True, tag=True):
    """A frame lies in `slot`, (height, width, 3); the slot is the brain's until `Shown`."""

    stamp: Stamp
    slot: int
    height: int
    width: int


class Ask(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """Answer `text` about the window; a standing instruction yields to every question.

    `question_id` is the asker's name for it, for whoever reads a recording.
    """

    id: str
    text: str
    question_id: str | None = None
    standing: bool = False
    priority: int = 0
    deadline_ns: int | None = None
    frames: int = 1  # wait until the window has so many,
    frame_id: int = 0  # and ends with this frame or a later one
    skills: Offer | None = None
    conversation: str = ""  # earlier questions of it, and their answers, go in front


class Pin(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """Put this in front of every prompt: a question about the pictures in `files`, its answer."""

    id: str
    question: str
    answer: str
    images: tuple[Image, ...]
    files: tuple[bytes, ...]


class Unpin(msgspec.Struct, frozen=True, tag=True):
    """Forget a Pin, or all of them where `id` is empty."""

    id: str


class Drop(msgspec.Struct, frozen=True, tag=True):
    """Forget the ask with this id."""

    id: str


class Limit(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """Spend no more than this from now on; None is what the bundle and the settings say."""

    frames: int | None = None
    max_new_tokens: int | None = None


class Ready(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """The engines stand; `frames` and `rate_hz` are the window the model was trained with."""

    model: str
    model_hash: str
    frames: int
    rate_hz: float
    engine: dict[str, Any]


class Failed(msgspec.Struct, frozen=True, tag=True):
    """The engines cannot be had, and why; `user` says that only the user can mend it."""

    detail: str
    user: bool


class Shown(msgspec.Struct, frozen=True, tag=True):
    """The frame was encoded (`kept`) or replaced by a newer one; its slot is free again.

    `sketch` is what a kept one roughly shows, `took_ms` what encoding it took.
    """

    stamp: Stamp
    slot: int
    kept: bool
    window: int  # how many frames the window has now
    sketch: bytes = b""
    took_ms: float | None = None


class Piece(msgspec.Struct, frozen=True, tag=True):
    """Text that an answer grew by."""

    id: str
    index: int
    text: str


class Said(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """An answer, complete or cut off by its deadline (`partial`), and the frames it is about."""

    id: str
    text: str
    confidence: float
    stamps: tuple[Stamp, ...]
    timing: dict[str, float]
    partial: bool = False
    choices: tuple[Choice, ...] = ()


class Declined(msgspec.Struct, frozen=True, tag=True):
    """No answer: a short code and a sentence."""

    id: str
    reason: str
    detail: str


class Pinned(msgspec.Struct, frozen=True, tag=True):
    """A Pin stands, or why it does not."""

    id: str
    refusal: str = ""


class Alive(msgspec.Struct, frozen=True, tag=True):
    """A sign of life; the next one, or anything else, comes within `patience_s` unless it hangs."""

    patience_s: float


class Died(msgspec.Struct, frozen=True, tag=True):
    """The brain's process is gone or was ended, and why; everything asked of it is lost."""

    detail: str


Handed = Ask | Drop | Pin | Unpin | Limit  # what needs no shared memory
Order = Show | Handed
Event = Ready | Failed | Shown | Piece | Said | Declined | Pinned | Alive | Died


class Hung(OtterError):
    """The other end does not read what is sent to it."""


class Channel:
    """One end of a socket pair; `Inbound` is what the other end may say."""

    def __init__(self, end: socket.socket, inbound: Any, patience_s: float | None = None) -> None:
        """`patience_s` is how long `send` waits for the other end to read; None is for ever."""
        self._socket = end
        self._socket.setblocking(False)
        self._decoder: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder(inbound)
        self._encoder = msgspec.msgpack.Encoder()
        self._patience_s = patience_s
        self._rest = memoryview(b"")  # of a message that the other end has begun to take
        self._buffer = bytearray()
        self.closed = False

    def fileno(self) -> int:
        """For select and poll."""
        return self._socket.fileno()

    def send(self, message: msgspec.Struct) -> None:
        """Send one message whole, or none of it: Hung when the other end does not read.

        One that it took the beginning of is sent; its rest follows with the next call of `send` or
        `receive`. Raises OSError when the other end is gone.
        """
        self._push(self._patience_s)
        if self._rest:
            raise Hung("the other end of the channel does not read")
        body = self._encoder.encode(message)
        self._rest = whole = memoryview(LENGTH.pack(len(body)) + body)
        self._push(self._patience_s)
        if self._rest is whole:
            self._rest = memoryview(b"")
            raise Hung("the other end of the channel does not read")

    def _push(self, patience_s: float | None) -> None:
        """Send what is left, for as long as the other end reads within `patience_s`."""
        while self._rest:
            try:
                self._rest = self._rest[self._socket.send(self._rest) :]
            except BlockingIOError:
                if not select.select([], [self._socket], [], patience_s)[1]:
                    return

    def receive(self, timeout_s: float | None = 0.0) -> list[Any]:
        """The messages that are there, waiting up to `timeout_s` (None: for ever) for the first.

        An empty list with `closed` set means that the other end is gone.
        """
        with contextlib.suppress(OSError):  # gone: reading says so
            self._push(0.0)
        if self.closed or not select.select([self._socket], [], [], timeout_s)[0]:
            return []
        try:
            while len(piece := self._socket.recv(READ_BYTES)) == READ_BYTES:
                self._buffer += piece  # and there may be more
            self._buffer += piece
            self.closed = not piece
        except BlockingIOError:
            pass
        except ConnectionError:
            self.closed = True
        return self._messages()

    def close(self) -> None:
        """Close this end; the other one sees it."""
        self._socket.close()

    def _messages(self) -> list[Any]:
        messages = []
        while len(self._buffer) >= LENGTH.size:
            (length,) = LENGTH.unpack_from(self._buffer)
            if len(self._buffer) < LENGTH.size + length:
                break
            body = bytes(self._buffer[LENGTH.size : LENGTH.size + length])
            del self._buffer[: LENGTH.size + length]
            messages.append(self._decoder.decode(body))
        return messages
