"""espeak-ng's speech: what is said, in which voice, and what is no instruction to it."""

from __future__ import annotations

import numpy as np
import pytest
from tests.runtime.audio.spoken import needs_espeak

from otter_robots.errors import UserError
from otter_runtime.audio.synthesiser import SPOKEN_LETTERS, Synthesiser

pytestmark = needs_espeak


def test_a_text_is_sound_of_its_length() -> None:
    synthesise = Synthesiser()
    short, long = synthesise("yes"), synthesise("turn left: the red box is on your left")
    assert short.rate_hz == long.rate_hz
    assert 0.2 < short.seconds < long.seconds < 10
    assert np.abs(short.samples).max() > 3000
    assert synthesise("yes").samples.tolist() == short.samples.tolist()


@pytest.mark.parametrize("text", ["--help", "-f /etc/hostname", "$(reboot)", "a\x00b\nc\x1b[2J"])
def test_no_text_is_an_option(text: str) -> None:
    assert Synthesiser()(text).seconds < 10


def test_a_very_long_text_is_said_in_part() -> None:
    synthesise = Synthesiser(words_per_minute=450)
    assert synthesise("go on " * SPOKEN_LETTERS).seconds < 2 * synthesise("go on " * 66).seconds


def test_a_voice_that_is_not_there_is_a_sentence() -> None:
    with pytest.raises(UserError, match=r"'nobody' .*; see `espeak-ng --voices`"):
        Synthesiser("nobody")
