"""Pushes a robot's own frames without waiting: a thread has the newest one, older ones are dropped.

For a runtime whose source is `bus`. It knows the bus and pictures, not where they come from.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import NamedTuple

from otter_robots.client import Client
from otter_robots.errors import OtterError
from otter_robots.messages import Picture


class Shot(NamedTuple):
    """A frame and the file, or the rows of pixels, that `picture` describes."""

    picture: Picture
    data: bytes


class Pusher:
    """`pushed`, `dropped` and `refused` count frames; `error` is why the last refused one was."""

    def __init__(self, connect: Callable[[], Client]) -> None:
        self.pushed = self.dropped = self.refused = 0
        self.error = ""
        self._connect = connect
        self._changed = threading.Condition()
        self._newest: Shot | None = None
        self._ended = False
        self._thread = threading.Thread(target=self._run, name="pusher", daemon=True)
        self._thread.start()

    def push(self, shot: Shot) -> None:
        """Have this frame pushed next, instead of one that still waits."""
        with self._changed:
            self.dropped += self._newest is not None
            self._newest = shot
            self._changed.notify()

    def close(self) -> None:
        """End the thread, after the frame that is under way."""
        with self._changed:
            self._ended = True
            self._changed.notify()
        self._thread.join(timeout=5)

    def _run(self) -> None:
        with self._connect() as bus:
            while (shot := self._next()) is not None:
                try:
                    bus.push(shot.picture, shot.data)
                    self.pushed += 1
                except OtterError as error:
                    self.refused += 1
                    self.error = str(error)

    def _next(self) -> Shot | None:
        with self._changed:
            self._changed.wait_for(lambda: self._newest is not None or self._ended)
            shot, self._newest = self._newest, None
            return None if self._ended else shot
