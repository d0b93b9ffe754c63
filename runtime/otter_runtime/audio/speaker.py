"""Speaks a text through a loudspeaker, and returns when it was said.

It does not know who listens; whoever does drops what was heard meanwhile.
"""

from __future__ import annotations

import contextlib

import numpy as np

from otter_runtime.audio.resampler import Resampler
from otter_runtime.audio.sound import BLOCK_MS, Sound, Stream
from otter_runtime.audio.synthesiser import Clip, Synthesiser
from otter_runtime.errors import SoundLost

# Closing a stream cuts off what is still in the buffers (0.35 s, PulseAudio): let it be silence.
REST_S = 2.5 * BLOCK_MS["output"] / 1000


class Speaker:
    """A stream is opened for each text, so that a device that came back is found."""

    def __init__(self, sound: Sound, synthesise: Synthesiser, wanted: str = "") -> None:
        self._sound, self._synthesise, self._wanted = sound, synthesise, wanted
        sound.find(wanted, "output")

    def say(self, text: str) -> None:
        """Say it to the end; raises SoundLost, or UserError where there is no loudspeaker."""
        clip = self._synthesise(text)
        stream = self._sound.open(self._wanted, "output", clip.rate_hz)
        try:
            self._sound.write(stream, _played(clip, stream), clip.seconds + REST_S)
        except SoundLost:
            with contextlib.suppress(SoundLost):  # the first loss says why
                self._sound.close(stream)
            raise
        self._sound.close(stream)


def _played(clip: Clip, stream: Stream) -> bytes:
    """The clip at the stream's rate, the same on every channel."""
    rest = np.zeros(int(clip.rate_hz * REST_S), np.int16)
    samples = Resampler(clip.rate_hz, stream.rate_hz)(np.concatenate([clip.samples, rest]))
    return np.repeat(samples, stream.channels).tobytes()
