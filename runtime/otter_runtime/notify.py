"""What the service manager is told: ready, what the state is, and that there is progress.

The protocol of sd_notify, a datagram to the socket in NOTIFY_SOCKET; without one nothing is said.
It knows no systemd and no front, only words and what counts as progress.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Mapping

PINGS = 3  # within the time after which silence counts as death


class Notifier:
    """Says words to whoever started us, if that is to be told."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        self._address = environment.get("NOTIFY_SOCKET", "")
        self._status = ""
        if self._address.startswith("@"):
            self._address = "\0" + self._address[1:]  # Linux's abstract names
        self.watchdog_s = _watchdog_s(environment) if self._address else None

    def ready(self) -> None:
        """The start is over."""
        self._say("READY=1")

    def stopping(self) -> None:
        """The end begins."""
        self._say("STOPPING=1")

    def alive(self) -> None:
        """There was progress."""
        self._say("WATCHDOG=1")

    def status(self, sentence: str) -> None:
        """For people; said where it is another than before."""
        if sentence != self._status:
            self._status = sentence
            self._say("STATUS=" + " ".join(sentence.split()))

    def _say(self, word: str) -> None:
        if not self._address:
            return
        # A manager that does not listen is not our trouble.
        with (
            contextlib.suppress(OSError),
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as end,
        ):
            end.setblocking(False)
            end.sendto(word.encode(), self._address)


def _watchdog_s(environment: Mapping[str, str]) -> float | None:
    """How long silence may last; None where nobody watches, or another process is watched."""
    if environment.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    try:
        return int(environment.get("WATCHDOG_USEC", "")) / 1e6 or None
    except ValueError:
        return None


class Progress:
    """Whether what should move does: frames are seen, and the brain says something.

    Both are counts that only rise. Either is excused where it is meant to stand still: a source
    that has no frame to give (`waiting`), and a brain that is being started (`starting`), though
    not for longer than `start_s`.
    """

    def __init__(self, start_s: float) -> None:
        self._start_s = start_s
        self._frames = self._words = -1
        self._up_s = time.monotonic()

    def made(self, *, frames: int, words: int, waiting: bool, starting: bool) -> bool:
        """Whether there was any since the last time there was."""
        now_s = time.monotonic()
        if not starting:
            self._up_s = now_s
        seen = waiting or frames != self._frames
        heard = words != self._words or (starting and now_s - self._up_s < self._start_s)
        if seen and heard:
            self._frames, self._words = frames, words
        return seen and heard


class Watchdog:
    """Tells the manager of progress, a few times in the time that silence may last."""

    def __init__(self, notifier: Notifier, progress: Progress) -> None:
        self._notifier, self._progress = notifier, progress
        self._at_s = 0.0

    def turn(self, *, frames: int, words: int, waiting: bool, starting: bool) -> None:
        """To be called again and again, with what `Progress.made` takes."""
        watchdog_s, now_s = self._notifier.watchdog_s, time.monotonic()
        if watchdog_s is None or now_s < self._at_s:
            return
        if self._progress.made(frames=frames, words=words, waiting=waiting, starting=starting):
            self._notifier.alive()
            self._at_s = now_s + watchdog_s / PINGS
