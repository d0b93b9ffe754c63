"""Text to speech: espeak-ng, a child process that is given text and gives sound.

The text goes through its standard input, so that nothing in it can be an option or a file. It does
not know who hears it.
"""

from __future__ import annotations

import io
import subprocess
import wave
from typing import NamedTuple

import numpy as np

from otter_robots.terminal import printable
from otter_runtime.audio.resampler import Samples
from otter_runtime.errors import SoundLost, UserError

ESPEAK = "espeak-ng"
SYNTHESIS_S = 20.0  # it takes milliseconds
SPOKEN_LETTERS = 400  # 25 seconds in which nobody is heard


class Clip(NamedTuple):
    """Mono int16 samples and their rate."""

    samples: Samples
    rate_hz: int

    @property
    def seconds(self) -> float:
        """How long it lasts."""
        return len(self.samples) / self.rate_hz


class Synthesiser:
    """One voice at one speed; raises UserError where espeak-ng or the voice is not there."""

    def __init__(self, voice: str = "en-us", words_per_minute: int = 160) -> None:
        self._options = ["-v", voice, "-s", str(words_per_minute)]
        self._voice = voice
        try:
            self("ready")
        except SoundLost as error:
            raise UserError(
                f"espeak-ng does not speak with the voice {voice!r} ({error}); "
                "see `espeak-ng --voices`"
            ) from error

    def __call__(self, text: str) -> Clip:
        """The text as sound, its beginning where it is very long; raises SoundLost, UserError."""
        command = [ESPEAK, "--stdin", "--stdout", "-b", "1", *self._options]
        given = _speakable(text).encode()
        try:
            done = subprocess.run(
                command, input=given, capture_output=True, timeout=SYNTHESIS_S, check=False
            )
        except FileNotFoundError as error:
            raise UserError("espeak-ng is not installed; apt-get install espeak-ng") from error
        except subprocess.TimeoutExpired as error:
            raise SoundLost(f"espeak-ng did not end within {SYNTHESIS_S:g} s") from error
        if done.returncode or not done.stdout:
            said = " ".join(done.stderr.decode(errors="replace").split())
            raise SoundLost(f"espeak-ng ended with {done.returncode}: {said or 'no sound'}")
        return _clip(done.stdout)


def _speakable(text: str) -> str:
    plain = printable(text)
    return plain if len(plain) <= SPOKEN_LETTERS else f"{plain[:SPOKEN_LETTERS]}, and so on."


def _clip(data: bytes) -> Clip:
    """A stream's header says that it is endless; what is there counts."""
    with wave.open(io.BytesIO(data)) as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(np.int16)
        return Clip(samples, file.getframerate())
