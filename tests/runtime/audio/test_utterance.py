"""Where utterances begin and end, and what a resampler keeps."""

from __future__ import annotations

import numpy as np
import pytest

from otter_runtime.audio.resampler import Resampler
from otter_runtime.audio.utterance import (
    BEFORE_MS,
    FRAME_BYTES,
    FRAME_MS,
    HANGOVER_MS,
    LONGEST_MS,
    Segmenter,
)

VOICE, SILENCE = b"\x01" * FRAME_BYTES, b"\x00" * FRAME_BYTES
TAIL = HANGOVER_MS // FRAME_MS


def cut(frames: list[bytes]) -> list[bytes]:
    segmenter = Segmenter(lambda frame: frame == VOICE)
    return [pcm for pcm in map(segmenter.hear, frames) if pcm is not None]


def test_an_utterance_has_its_beginning_and_its_pauses() -> None:
    pause = [SILENCE] * (TAIL - 1)
    said = [VOICE] * 10 + pause + [VOICE] * 10
    (pcm,) = cut([SILENCE] * 30 + said + [SILENCE] * (TAIL + 5))
    assert pcm.endswith(b"".join([*said, *[SILENCE] * TAIL]))
    before = len(pcm) // FRAME_BYTES - len(said) - TAIL
    assert 0 < before <= BEFORE_MS // FRAME_MS


def test_a_longer_pause_makes_two() -> None:
    frames = [VOICE] * 8 + [SILENCE] * TAIL + [VOICE] * 8 + [SILENCE] * TAIL
    assert len(cut(frames)) == 2


def test_clicks_are_no_speech() -> None:
    assert cut(([VOICE] * 2 + [SILENCE] * 6) * 20) == []


def test_speech_without_end_is_cut() -> None:
    pieces = cut([VOICE] * (2 * LONGEST_MS // FRAME_MS + 20))
    assert [len(piece) // FRAME_BYTES for piece in pieces] == [LONGEST_MS // FRAME_MS] * 2


def test_a_reset_forgets() -> None:
    segmenter = Segmenter(lambda frame: frame == VOICE)
    for _ in range(10):
        segmenter.hear(VOICE)
    assert segmenter.speaking
    segmenter.reset()
    assert not segmenter.speaking
    assert all(segmenter.hear(SILENCE) is None for _ in range(2 * TAIL))


@pytest.mark.parametrize(
    ("from_hz", "to_hz"), [(48_000, 16_000), (44_100, 16_000), (22_050, 48_000), (16_000, 16_000)]
)
def test_a_tone_stays_a_tone(from_hz: int, to_hz: int) -> None:
    at = np.arange(from_hz) / from_hz
    tone = np.rint(8000 * np.sin(2 * np.pi * 1000 * at)).astype(np.int16)
    resample = Resampler(from_hz, to_hz)
    blocks = np.concatenate([resample(block) for block in np.array_split(tone, 37)])
    assert abs(len(blocks) - to_hz) <= to_hz // 400
    spectrum = np.abs(np.fft.rfft(blocks[-to_hz // 2 :] * np.hanning(to_hz // 2))) ** 2
    peak = int(np.argmax(spectrum))
    assert peak == 500  # of bins 2 Hz wide
    assert spectrum[peak - 3 : peak + 4].sum() > 1e6 * (
        spectrum.sum() - spectrum[peak - 3 : peak + 4].sum()
    )


@pytest.mark.parametrize("from_hz", [48_000, 44_100])
def test_what_the_lower_rate_cannot_hold_is_gone(from_hz: int) -> None:
    at = np.arange(from_hz) / from_hz
    high = np.rint(16_000 * np.sin(2 * np.pi * 11_000 * at)).astype(np.int16)
    kept = Resampler(from_hz, 16_000)(high)[200:]
    assert np.abs(kept).max() < 16


def test_blocks_of_any_size_give_the_same() -> None:
    noise = np.random.default_rng(1).integers(-9000, 9000, 5000).astype(np.int16)
    whole = Resampler(44_100, 16_000)(noise)
    resample = Resampler(44_100, 16_000)
    single = np.concatenate([resample(noise[index : index + 1]) for index in range(len(noise))])
    np.testing.assert_array_equal(whole, single)
