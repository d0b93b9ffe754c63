"""The thread that turns frames into picture files, beside the one that writes.

It knows pictures and a queue with room for a few; it does not know files. An answer on its way to
the disk does not wait here: a large frame takes a tenth of a second.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

import msgspec

from otter_runtime.frame import Frame
from otter_runtime.trials import picture
from otter_runtime.trials.channels import Show
from otter_runtime.trials.foxglove import pack

END_S = 30.0


class Shot(NamedTuple):
    """A frame that was shown at `mono_ns`; its picture is message `order + 1` of the trial."""

    order: int
    mono_ns: int
    frame: Frame


# Takes a shot, its Show and its picture as they are written; None where it could not be encoded.
Done = Callable[[Shot, bytes, bytes | None], None]


class Encoder:
    """Shots go in at `take`, and come out at `done`, in the encoder's thread and in order."""

    def __init__(self, room: int, done: Done) -> None:
        self._room, self._done = room, done
        self._shots: deque[Shot] = deque()
        self._wake = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="encoder", daemon=True)
        self._thread.start()

    @property
    def full(self) -> bool:
        """Whether the next shot would have to wait too long."""
        return len(self._shots) >= self._room

    def take(self, shot: Shot) -> None:
        """Encode it when it is its turn."""
        with self._wake:
            self._shots.append(shot)
            self._wake.notify()

    def close(self) -> None:
        """Encode what waits, and end."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        self._thread.join(END_S)

    def _run(self) -> None:
        while True:
            with self._wake:
                self._wake.wait_for(lambda: self._shots or self._closing)
                if not self._shots:
                    return
                # It counts as waiting until it is done.
                shot = self._shots[0]
            self._encode(shot)
            self._shots.popleft()

    def _encode(self, shot: Shot) -> None:
        frame, stamp = shot.frame, shot.frame.stamp
        try:
            encoding, file = picture.encode(frame)
            digest = picture.digest(frame.pixels)
        except (OSError, ValueError):
            self._done(shot, show(frame), None)
            return
        image = pack(stamp.wall_ns, stamp.source, file, encoding)
        self._done(shot, show(frame, encoding, digest), image)


def show(frame: Frame, encoding: str = "", digest: str = "") -> bytes:
    """The Show of a frame; without an encoding its picture is left out."""
    height, width = frame.pixels.shape[:2]
    one = Show(stamp=frame.stamp, height=height, width=width, encoding=encoding, digest=digest)
    return msgspec.json.encode(one)
