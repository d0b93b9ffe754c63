"""A drained source as the front sees it: which frames to show the brain, and when it is blind.

It knows the gate and the sampling grid; it does not know what the frames are for.
"""

from __future__ import annotations

import time

from otter_runtime.drain import Drain
from otter_runtime.frame import Frame, Stamp
from otter_runtime.gate import Gate, Verdict
from otter_runtime.window import Sampler

_SENTENCE = {
    Verdict.BLACK: "the picture is black; take the cover off or give it light",
    Verdict.STUCK: "the camera repeats one picture; reconnect it",
}


class Eye:
    """One look at a time; `newest` is the stamp of the last frame that could be answered from."""

    def __init__(self, drain: Drain, stale_ms: float) -> None:
        self.drain = drain
        self.newest: Stamp | None = None
        self._gate = Gate(drain.live)
        self._verdict = Verdict.FINE
        self._stale_ns = stale_ms * 1e6
        self._sampler: Sampler | None = None
        self._opened_ns = 0

    @property
    def opened(self) -> bool:
        """Whether frames are being read."""
        return self._sampler is not None

    def open(self, rate_hz: float) -> None:
        """Begin to read, `rate_hz` frames a second being wanted."""
        self._sampler = Sampler(rate_hz)
        self._opened_ns = time.monotonic_ns()
        self.drain.start()

    def descriptors(self) -> list[int]:
        """What becomes readable when there is something to look at."""
        return [] if self.drain.ended else [self.drain.fileno()]

    def look(self) -> Frame | None:
        """The newest frame, if there is a new one that the window wants and the gate lets in."""
        frame = self.drain.take() if self._sampler else None
        if frame is None or self._sampler is None:
            return None
        self._verdict = self._gate.judge(frame)
        if self._verdict is not Verdict.FINE:
            return None
        self.newest = frame.stamp
        return frame if self._sampler.wants(frame.stamp) else None

    def blind(self, now_ns: int) -> tuple[str, str] | None:
        """Why nothing should be answered now, as a code and a sentence; None where all is well."""
        if self.drain.trouble:
            return "camera-lost", self.drain.trouble
        if self._verdict is not Verdict.FINE:
            return f"camera-{self._verdict.value}", _SENTENCE[self._verdict]
        if self.drain.live and self.opened:
            # A camera that never gave a frame is as blind as one that stopped.
            age_ns = now_ns - (self.newest.mono_ns if self.newest else self._opened_ns)
            if age_ns > self._stale_ns:
                what = f"no new frame for {age_ns / 1e9:.1f} s; check the camera"
                return "camera-stale", what
        return None

    @property
    def ended(self) -> bool:
        """Whether a recording is played out."""
        return self.opened and self.drain.ended
