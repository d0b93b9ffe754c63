"""Speech for tests: espeak-ng's, as a microphone in a quiet room would hear it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from importlib.util import find_spec

import numpy as np
import pytest

from otter_runtime.audio.resampler import Resampler
from otter_runtime.audio.synthesiser import Synthesiser
from otter_runtime.audio.utterance import FRAME_BYTES, RATE_HZ

needs_espeak = pytest.mark.skipif(
    shutil.which("espeak-ng") is None, reason="espeak-ng is not installed"
)
needs_sphinx = pytest.mark.skipif(
    find_spec("pocketsphinx") is None, reason="pocketsphinx is not installed"
)


def frames(*texts: str, voice: str = "en-us") -> Iterator[bytes]:
    """The texts as frames, a second of a quiet room before, between and after them."""
    synthesise = Synthesiser(voice, 150)
    room = np.zeros(RATE_HZ, np.int16)
    parts = [room]
    for text in texts:
        clip = synthesise(text)
        parts += [Resampler(clip.rate_hz, RATE_HZ)(clip.samples), room]
    quiet = np.random.default_rng(0).normal(0, 3, sum(map(len, parts)))
    pcm = (np.concatenate(parts) + quiet).clip(-32768, 32767).astype(np.int16).tobytes()
    for at in range(0, len(pcm) - FRAME_BYTES + 1, FRAME_BYTES):
        yield pcm[at : at + FRAME_BYTES]
