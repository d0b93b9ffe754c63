"""A microphone as frames of mono int16 at the recogniser's rate, whatever the device gives.

PortAudio's thread hands blocks over; who reads never waits in it. It knows no words.
"""

from __future__ import annotations

import queue
import time
from typing import Any

import numpy as np

from otter_runtime.audio.resampler import Resampler, Samples
from otter_runtime.audio.sound import Sound
from otter_runtime.audio.utterance import FRAME_BYTES, RATE_HZ
from otter_runtime.errors import SoundLost

# A block is 60 ms, PulseAudio's own are up to 2 s where a player asks for no latency.
SILENT_S = 5.0
CONTINUE = 0  # PortAudio's paContinue


class Microphone:
    """Open from the beginning; raises UserError where there is none, SoundLost."""

    def __init__(self, sound: Sound, wanted: str = "") -> None:
        self._sound = sound
        self._blocks: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self.overflows = 0  # blocks before which some sound was lost
        self._stream = sound.open(wanted, "input", RATE_HZ, self._take)
        self._resample = Resampler(self._stream.rate_hz, RATE_HZ)
        self._held = b""
        self._heard_s = time.monotonic()

    def read(self, patience_s: float) -> bytes | None:
        """The next FRAME_BYTES, None where there are none within `patience_s`.

        Raises SoundLost where the device has given nothing for SILENT_S, or says that it ended.
        """
        until_s = time.monotonic() + patience_s
        while len(self._held) < FRAME_BYTES:
            try:
                block = self._blocks.get(timeout=max(0.0, until_s - time.monotonic()))
            except queue.Empty:
                self._check_alive()
                return None
            self._heard_s = time.monotonic()
            self._held += self._converted(block)
        frame, self._held = self._held[:FRAME_BYTES], self._held[FRAME_BYTES:]
        return frame

    def drop(self) -> None:
        """Forget what was captured until now."""
        while not self._blocks.empty():
            self._blocks.get()
        self._held = b""
        self._heard_s = time.monotonic()

    def close(self) -> None:
        """Let the device go; raises SoundLost where it hangs."""
        self._sound.close(self._stream)

    def _take(self, block: bytes, _: int, __: Any, status: int) -> tuple[None, int]:
        self.overflows += bool(status)
        self._blocks.put(block)
        return None, CONTINUE

    def _converted(self, block: bytes) -> bytes:
        samples: Samples = np.frombuffer(block, np.int16)
        channels = self._stream.channels
        if channels > 1:
            samples = samples.reshape(-1, channels).mean(axis=1).astype(np.int16)
        return self._resample(samples).tobytes()

    def _check_alive(self) -> None:
        silent_s = time.monotonic() - self._heard_s
        if silent_s >= SILENT_S or not self._stream.raw.is_active():
            raise SoundLost("the microphone gives no sound any more; is it unplugged?")
