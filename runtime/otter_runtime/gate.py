"""Which frames may be answered from: black and stuck ones may not.

It sees one frame at a time and knows nothing of models or questions.
"""

from __future__ import annotations

import enum
import hashlib

from otter_runtime.frame import Frame, Pixels

BLACK_LEVEL = 12  # of 255: sensor noise and video black (16/255 scaled) stay below it


class Verdict(enum.Enum):
    """What the gate says about a frame."""

    FINE = "fine"
    BLACK = "black"
    STUCK = "stuck"


class Gate:
    """Judges frames in order; `live` is for cameras, where repeated pixels mean a stuck one.

    A sensor's noise never repeats for a second; a simulator's camera has none, and is given longer.
    A recording may stand still for as long as it likes: there only black counts.
    """

    def __init__(self, live: bool, stuck_ms: float = 1000.0) -> None:
        self.live = live
        self.stuck_after_ns = stuck_ms * 1e6
        self._seen = (-1, b"")  # scene, digest
        self._since_ns = 0

    def judge(self, frame: Frame) -> Verdict:
        """FINE, BLACK (no pixel brighter than BLACK_LEVEL) or STUCK (identical for too long)."""
        if is_black(frame.pixels):
            return Verdict.BLACK
        if self.live and self._stuck(frame):
            return Verdict.STUCK
        return Verdict.FINE

    def _stuck(self, frame: Frame) -> bool:
        # Every 4th row and column: a sixteenth of the bytes, and noise shows in any of them.
        sample = frame.pixels[::4, ::4].tobytes()
        digest = hashlib.blake2b(sample, digest_size=16).digest()
        seen = (frame.stamp.scene, digest)
        if seen != self._seen:
            self._seen, self._since_ns = seen, frame.stamp.mono_ns
        return frame.stamp.mono_ns - self._since_ns >= self.stuck_after_ns


def is_black(pixels: Pixels) -> bool:
    """Whether no pixel is brighter than BLACK_LEVEL; a sample answers for most frames."""
    if int(pixels[::8, ::8].max(initial=0)) > BLACK_LEVEL:
        return False
    return int(pixels.max(initial=0)) <= BLACK_LEVEL
