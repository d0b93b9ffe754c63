"""A drained source as the front sees it: which frames to show the brain, and when it is blind.

It knows the gate and the sampling grid; it does not know what the frames are for.
"""

from __future__ import annotations

import math
import time
from typing import Protocol

from otter_runtime.frame import Frame, Stamp
from otter_runtime.gate import Gate, Verdict
from otter_runtime.window import Sampler

_SENTENCE = {
    Verdict.BLACK: "the picture is black; take the cover off or give it light",
    Verdict.STUCK: "the camera repeats one picture; reconnect it",
}


class Source(Protocol):
    """Frames that are kept drained: a `Drain` of files and cameras, or what is `Pushed`.

    `dropped` frames were replaced before anybody took them, `damaged` ones could not be decoded,
    and `trouble` says why a live source gives nothing just now.
    """

    dropped: int
    damaged: int
    trouble: str

    @property
    def live(self) -> bool:
        """Whether it has no end."""

    @property
    def ended(self) -> bool:
        """Whether it is played out and its last frame taken."""

    def start(self) -> None:
        """Begin to read."""

    def descriptors(self) -> list[int]:
        """What becomes readable when there is something to take."""

    def take(self) -> Frame | None:
        """The newest frame that was not taken yet, or None; never waits."""

    def close(self) -> None:
        """Stop reading."""


class Eye:
    """One look at a time; `newest` is the stamp of the last frame that could be answered from."""

    def __init__(
        self,
        source: Source,
        stale_ms: float,
        stuck_ms: float = 1000.0,
        silent_ms: float | None = None,
    ) -> None:
        """What is older than `stale_ms` is not answered from, nor a camera silent for `silent_ms`.

        None is for whoever gives frames when there is something to ask, and owes none.
        """
        self.source = source
        self.newest: Stamp | None = None
        self.taken = 0  # frames, whatever was thought of them
        self._gate = Gate(source.live, stuck_ms)
        self._verdict = Verdict.FINE
        self._stale_ns = stale_ms * 1e6
        self._silent_ns = math.inf if silent_ms is None else silent_ms * 1e6
        self._sampler: Sampler | None = None
        self._heard_ns = 0  # when the last frame came, of whatever quality; or when it was opened

    @property
    def opened(self) -> bool:
        """Whether frames are being read."""
        return self._sampler is not None

    def open(self, rate_hz: float) -> None:
        """Begin to read, `rate_hz` frames a second being wanted."""
        self._sampler = Sampler(rate_hz)
        self._heard_ns = time.monotonic_ns()
        self.source.start()

    def pace(self, rate_hz: float) -> None:
        """Want `rate_hz` frames a second from now on."""
        if self._sampler is not None and self._sampler.period_ns != 1e9 / rate_hz:
            self._sampler = Sampler(rate_hz)

    def descriptors(self) -> list[int]:
        """What becomes readable when there is something to look at."""
        return self.source.descriptors()

    def look(self) -> Frame | None:
        """The newest frame, if there is a new one that the window wants and the gate lets in."""
        frame = self.source.take() if self._sampler else None
        if frame is None or self._sampler is None:
            return None
        self.taken += 1
        self._heard_ns = time.monotonic_ns()
        self._verdict = self._gate.judge(frame)
        if self._verdict is not Verdict.FINE:
            return None
        self.newest = frame.stamp
        return frame if self._sampler.wants(frame.stamp) else None

    def blind(self, now_ns: int) -> tuple[str, str] | None:
        """Why nothing should be answered now, as a code and a sentence; None where all is well."""
        if self.source.trouble:
            return "camera-lost", self.source.trouble
        watched = self.source.live and self.opened
        if watched and (silence := self._silence(now_ns)):
            return silence
        if self._verdict is not Verdict.FINE:
            return f"camera-{self._verdict.value}", _SENTENCE[self._verdict]
        if watched and self.newest and (age_ns := now_ns - self.newest.mono_ns) > self._stale_ns:
            return "camera-stale", f"the newest frame is {age_ns / 1e9:.1f} s old; check the camera"
        return None

    def _silence(self, now_ns: int) -> tuple[str, str] | None:
        silent_ns = now_ns - self._heard_ns
        if silent_ns > self._silent_ns:
            return "camera-silent", f"no frame for {silent_ns / 1e9:.1f} s; check the camera"
        # One that never gave a frame is as blind as one that stopped.
        if self.newest is None and silent_ns > self._stale_ns:
            return "camera-stale", f"no frame yet, for {silent_ns / 1e9:.1f} s; check the camera"
        return None

    @property
    def waiting(self) -> bool:
        """Whether it is meant to stand still: not open yet, a recording's pace, a lost camera."""
        return not self.opened or not self.source.live or bool(self.source.trouble)

    @property
    def ended(self) -> bool:
        """Whether a recording is played out."""
        return self.opened and self.source.ended
