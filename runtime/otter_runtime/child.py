"""The brain as a child process, seen from the front: started, spoken to, watched, started again.

It knows processes and the channel; it does not know what is asked or answered. A brain that dies
or hangs costs what was asked of it, never the bus: `Died` is an event like any other.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time

import msgspec

from otter_runtime.brain import Settings
from otter_runtime.frame import Frame
from otter_runtime.slots import Slots
from otter_runtime.watch import Watch
from otter_runtime.wire import (
    Alive,
    Ask,
    Channel,
    Died,
    Drop,
    Event,
    Hung,
    Limit,
    Order,
    Pin,
    Ready,
    Show,
    Shown,
    Unpin,
)

REST_S = 0.2  # between a brain's end and the next one's start
BACK_OFF_S = (0.0, 1.0, 2.0, 5.0, 10.0)  # between two starts, where one dies after the other
STEADY_S = 30.0  # alive for so long, a brain's next death counts as its first
START_FACTOR, START_LEAST_S = 4.0, 10.0  # of the first start's time, later ones take at most
SEND_PATIENCE_S = 2.0
END_PATIENCE_S = 2.0
WORDS_PATIENCE_S = 0.5


class ChildBrain:
    """A brain in its own process; restarts itself, with back-off, from within `events`."""

    def __init__(self, settings: Settings, hung_s: float = 10.0, start_s: float = 300.0) -> None:
        """A brain hangs that breaks its promise of a sign of life, or takes `start_s` to be ready.

        `hung_s` is the longest it can promise; see `pulse` and `watch`.
        """
        self.settings = msgspec.structs.replace(settings, longest_s=hung_s)
        self.restarts = 0
        self._own = self.settings
        self._hung_s, self._start_s = hung_s, start_s
        self._begun_s: dict[str, float] = {}  # how long a bundle's start took
        self._slots = Slots()
        self._deaths = 0
        self._start_at_s = 0.0
        self._process: subprocess.Popen[bytes] | None = None
        self._start()

    @property
    def pid(self) -> int | None:
        """The child's process id while there is one."""
        return self._process.pid if self._process else None

    def show(self, frame: Frame) -> bool:
        """Copy a frame into a shared slot and say so; False without a slot or a ready brain."""
        if not self._ready:
            return False
        slot = self._slots.put(frame.pixels)
        if slot is None:
            return False
        height, width = frame.pixels.shape[:2]
        return self._send(Show(frame.stamp, slot, height, width))

    def ask(self, ask: Ask) -> None:
        """Hand over an ask; where the brain is gone, `Died` follows."""
        self._send(ask)

    def drop(self, ask_id: str) -> None:
        """Forget an ask."""
        self._send(Drop(ask_id))

    def pin(self, order: Pin | Unpin) -> None:
        """Pin or unpin an exemplar."""
        self._send(order)

    def limit(self, limit: Limit) -> None:
        """Spend no more than this."""
        self._send(limit)

    def load(self, bundle: str | None) -> None:
        """Answer with another bundle, or its own: this brain ends, another begins, `Ready` follows.

        Whoever calls it gives up what was asked: no `Died` comes of it.
        """
        window = msgspec.structs.replace(self._own.window, frames=None)
        other = bundle and msgspec.structs.replace(self._own, bundle=bundle, window=window)
        self.settings = other or self._own
        if self._process is not None:
            self._kill()
        self._start()

    def events(self) -> list[Event]:
        """What the brain said; Died where it is gone; starts a new one when it is time."""
        if self._process is None:
            if time.monotonic() >= self._start_at_s:
                self.restarts += 1
                self._start()
            return []
        try:
            events: list[Event] = self._channel.receive()
        except (msgspec.MsgspecError, ValueError) as error:
            return [self._end(f"the brain said what cannot be read: {error}")]
        for event in events:
            self._note(event)
        if self._channel.closed:
            return [*events, self._end(self._last_words())]
        if self._watch.hung:
            return [*events, self._end("the brain hung and was ended")]
        return events

    @property
    def busy(self) -> bool:
        """Never: the work is done elsewhere."""
        return False

    def descriptors(self) -> list[int]:
        """The channel, while there is a brain at its other end."""
        return [self._channel.fileno()] if self._process else []

    def close(self) -> None:
        """End the brain: it leaves when its channel closes, and is killed when it does not."""
        if self._process is not None:
            self._channel.close()
            try:
                self._process.wait(END_PATIENCE_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None
        self._slots.close()

    def _start(self) -> None:
        ours, theirs = socket.socketpair()
        self._channel = Channel(ours, Event, SEND_PATIENCE_S)
        self._slots.release_all()
        self._ready = False
        self._started_s = time.monotonic()
        descriptors = (theirs.fileno(), self._slots.descriptor)
        settings = msgspec.json.encode(self.settings).decode()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "otter_runtime.brain", *map(str, descriptors), settings],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=descriptors,
                # Ctrl-C is for the front, also while the brain is still importing.
                start_new_session=True,
                # A file in the current folder must not stand in for a module.
                env={**os.environ, "PYTHONSAFEPATH": "1"},
            )
        patience_s = self._start_patience_s()
        self._watch = Watch(self._process.pid, patience_s, patience_s)

    def _start_patience_s(self) -> float:
        known_s = self._begun_s.get(self.settings.bundle)
        if known_s is None:
            return self._start_s
        return min(self._start_s, max(START_LEAST_S, START_FACTOR * known_s))

    def _send(self, order: Order) -> bool:
        if self._process is None:
            return False
        try:
            self._channel.send(order)
        except (OSError, Hung):
            return False  # `events` finds out why
        return True

    def _note(self, event: Event) -> None:
        self._watch.heard(event.patience_s if isinstance(event, Alive) else None)
        if isinstance(event, Shown):
            self._slots.release(event.slot)
        elif isinstance(event, Ready):
            self._ready = True
            took_s = time.monotonic() - self._started_s
            assert self._process is not None
            computes = self.settings.provider == "cpu"
            self._watch = Watch(self._process.pid, self._hung_s, self._hung_s, computes)
            self._begun_s[self.settings.bundle] = took_s

    def _last_words(self) -> str:
        assert self._process is not None
        try:
            code = self._process.wait(WORDS_PATIENCE_S)
        except subprocess.TimeoutExpired:
            return "the brain closed its channel"
        if code < 0:
            return f"the brain was ended by {signal.Signals(-code).name}"
        return f"the brain ended with exit code {code}"

    def _end(self, why: str) -> Died:
        self._kill()
        lived_s = time.monotonic() - self._started_s
        self._deaths = 0 if lived_s > STEADY_S else self._deaths
        # A large model takes longer to load than any back-off: it must not wait for that as well.
        wait_s = max(REST_S, BACK_OFF_S[min(self._deaths, len(BACK_OFF_S) - 1)] - lived_s)
        self._deaths += 1
        self._start_at_s = time.monotonic() + wait_s
        return Died(f"{why}; a new one starts in {wait_s:.1f} s")

    def _kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        self._process = None
        self._channel.close()
        self._slots.release_all()
