"""Calibration files: what is written is read back, and what is none is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from otter_export.sample import Sample, random_samples, read_samples, samples_sha256, write_samples
from otter_model.tiny import tiny_checkpoint
from otter_runtime.bundle import Preprocess
from otter_runtime.errors import UserError

CONFIG = tiny_checkpoint("mpt").config
PREPROCESS = Preprocess(size=16)


def test_samples_come_back_as_they_were(tmp_path: Path) -> None:
    samples = random_samples(CONFIG, 3, frames=2, length=12)
    samples[1] = Sample(samples[1].pixels, [5, 61, 7], [0, 1, 1])
    write_samples(tmp_path / "c.npz", samples)
    back = read_samples(tmp_path / "c.npz", PREPROCESS, CONFIG.tokens.image)
    assert [s.ids for s in back] == [s.ids for s in samples]
    assert [s.media_index for s in back] == [s.media_index for s in samples]
    assert samples_sha256(back) == samples_sha256(samples)


def test_frames_are_preprocessed_and_images_counted(tmp_path: Path) -> None:
    frames = np.full((1, 2, 20, 30, 3), 255, np.uint8)
    np.savez(tmp_path / "c.npz", frames=frames, ids=np.array([[4, 61, 5, -1]]))
    (sample,) = read_samples(tmp_path / "c.npz", PREPROCESS, 61)
    assert sample.pixels.shape == (2, 3, 16, 16)
    assert sample.ids == [4, 61, 5]
    assert sample.media_index == [0, 1, 1]


@pytest.mark.parametrize("content", [b"", b"not an archive", b"\x80\x04N."])
def test_what_is_no_calibration_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "c.npz").write_bytes(content)
    with pytest.raises(UserError, match="not a calibration file"):
        read_samples(tmp_path / "c.npz", PREPROCESS, 61)


def test_a_prompt_ends_with_its_last_answer_token() -> None:
    sample = Sample(np.zeros((1, 3, 2, 2), np.float32), [61, 1, 62, 9, 62, 8, 60], [1] * 7)
    assert sample.prompt(62).ids == [61, 1, 62, 9, 62]
    assert sample.prompt(None).ids == sample.ids
