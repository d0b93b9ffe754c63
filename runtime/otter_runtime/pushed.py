"""Frames that come over the bus: a robot's own camera, a phone's or glasses', as the source.

It judges what was pushed and keeps the newest; it does not know sockets, nor what frames are for.
Nothing queues here: a frame that nobody took is replaced by the next one and counted.
"""

from __future__ import annotations

import io
import time
import warnings
from dataclasses import dataclass

import numpy as np
from PIL import Image, UnidentifiedImageError

from otter_robots.messages import Picture
from otter_runtime.errors import DamagedPicture
from otter_runtime.frame import Frame, Pixels, Stamp


@dataclass(frozen=True)
class Last:
    """The last frame that was let in; `began_ns` is the sender's time at its scene's first."""

    sender: bytes
    picture: Picture
    id: int
    scene: int
    began_ns: int

    def continues(self, sender: bytes, picture: Picture) -> bool:
        """Whether `picture` belongs to the same scene of the same sender and camera."""
        ours = (self.sender, self.picture.source, self.picture.scene)
        return ours == (sender, picture.source, picture.scene)


class Pushed:
    """A live source without a thread: `push` brings a frame, `take` hands out the newest."""

    live = True
    ended = False
    trouble = ""

    def __init__(self, latency_ms: float = 0.0) -> None:
        """`latency_ms` is what pictures were old already when their sender got them."""
        self._latency_ms = latency_ms
        self.dropped = 0  # frames that were replaced before anybody took them
        self.damaged = 0  # frames that could not be decoded or were not what they said
        self._newest: Frame | None = None
        self._last: Last | None = None

    def start(self) -> None:
        """Nothing to begin: frames are pushed whether or not somebody looks."""

    def descriptors(self) -> list[int]:
        """None: the bus wakes up whoever takes."""
        return []

    def close(self) -> None:
        """Nothing stays open."""

    def push(self, sender: bytes, picture: Picture, blob: bytes) -> None:
        """Let a frame in as the newest.

        Raises DamagedPicture where `blob` is not the picture it is said to be, comes after a later
        one of its scene, or has another size than that scene.
        """
        try:
            self._fits(sender, picture)
            pixels = decode(picture, blob)
        except DamagedPicture:
            self.damaged += 1
            raise
        self.dropped += self._newest is not None
        self._last = self._follow(sender, picture)
        file = b"" if picture.encoding == "rgb8" else blob
        self._newest = Frame(_stamp(self._last, self._latency_ms), pixels, file)

    def take(self) -> Frame | None:
        """The newest frame that was not taken yet, or None."""
        frame, self._newest = self._newest, None
        return frame

    def awaited(self, sender: bytes, number: int) -> int | None:
        """The id to wait for so as to see `sender`'s frame `number`; None where it has none such.

        It is that of the sender's newest frame, which is `number` or later.
        """
        last = self._last
        if last is None or last.sender != sender or number > last.picture.number:
            return None
        return last.id

    def _fits(self, sender: bytes, picture: Picture) -> None:
        last = self._last
        if last is None or not last.continues(sender, picture):
            return
        before = last.picture
        size, was = (picture.width, picture.height), (before.width, before.height)
        if size != was:
            raise DamagedPicture(
                f"frame {picture.number} is {size[0]}x{size[1]}, its scene began with "
                f"{was[0]}x{was[1]}; give another scene where the size changes"
            )
        if picture.number <= before.number or picture.taken_ns <= before.taken_ns:
            raise DamagedPicture(
                f"frame {picture.number} of {picture.taken_ns} ns came after frame "
                f"{before.number} of {before.taken_ns} ns; number frames upwards and give another "
                "scene where they begin anew"
            )

    def _follow(self, sender: bytes, picture: Picture) -> Last:
        last = self._last
        if last is None:
            return Last(sender, picture, 0, 0, picture.taken_ns)
        if last.continues(sender, picture):
            return Last(sender, picture, last.id + 1, last.scene, last.began_ns)
        return Last(sender, picture, last.id + 1, last.scene + 1, picture.taken_ns)


def decode(picture: Picture, blob: bytes) -> Pixels:
    """The pixels (height, width, 3) that `blob` holds; raises DamagedPicture for any other bytes.

    A file is decoded only where its own header has the declared size, so that a small request
    cannot unfold into gigabytes.
    """
    shape = (picture.height, picture.width, 3)
    if picture.encoding == "rgb8":
        if len(blob) != np.prod(shape):
            raise DamagedPicture(
                f"{picture.width}x{picture.height} rgb8 is {np.prod(shape)} bytes, got {len(blob)}"
            )
        return np.frombuffer(blob, np.uint8).reshape(shape)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # of a file that claims to be huge
            return _decode_file(picture, blob)
    except DamagedPicture:
        raise
    # Pillow raises a dozen kinds (OSError, SyntaxError, struct.error ...) for hostile bytes.
    except Exception as error:
        raise DamagedPicture(
            f"frame {picture.number} is no whole {picture.encoding} picture ({_reason(error)}); "
            "send it anew"
        ) from error


def _reason(error: Exception) -> str:
    # Pillow names the buffer by its address.
    return "not one at all" if isinstance(error, UnidentifiedImageError) else str(error)


def _decode_file(picture: Picture, blob: bytes) -> Pixels:
    with Image.open(io.BytesIO(blob), formats=[picture.encoding.upper()]) as image:
        if image.size != (picture.width, picture.height):
            raise DamagedPicture(
                f"frame {picture.number} is {image.width}x{image.height}, "
                f"its message says {picture.width}x{picture.height}; declare what you send"
            )
        return np.asarray(image.convert("RGB"))


def _stamp(last: Last, latency_ms: float) -> Stamp:
    age_ns = round((last.picture.age_ms + latency_ms) * 1e6)
    return Stamp(
        id=last.id,
        scene=last.scene,
        source=last.picture.source or "bus",
        index=last.picture.number,
        stream_ns=last.picture.taken_ns - last.began_ns,
        mono_ns=time.monotonic_ns() - age_ns,
        wall_ns=time.time_ns() - age_ns,
    )
