"""What a model is calibrated and verified on: pictures, a prompt with its answer, as numbers.

A calibration file is an `.npz` with `frames` (samples, F, H, W, 3) uint8 RGB, any size, or
`pixels` (samples, F, 3, H, W) float32 already preprocessed; `ids` (samples, L) int64 padded with
-1; and, where a prompt sees more than one medium or none at first, `media_index` of the same
shape. Every sample has one medium.
"""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from otter_export.precision import Floats
from otter_model.config import OtterConfig
from otter_runtime.bundle import Preprocess
from otter_runtime.errors import UserError
from otter_runtime.preprocess import Preprocessor

PADDING = -1


@dataclass(frozen=True)
class Sample:
    """One medium's pixels (F, 3, H, W) float32, token ids, and the medium each token sees."""

    pixels: Floats
    ids: list[int]
    media_index: list[int]

    def prompt(self, answer: int | None) -> Sample:
        """The sample up to its last `<answer>`: what a model is asked with."""
        if answer is None or answer not in self.ids:
            return self
        end = len(self.ids) - self.ids[::-1].index(answer)
        return Sample(self.pixels, self.ids[:end], self.media_index[:end])


def samples_of(items: Iterable[Sample | tuple[Floats, list[int], list[int]]]) -> list[Sample]:
    """Samples, or plain (pixels, ids, media_index), as samples."""
    return [item if isinstance(item, Sample) else Sample(*item) for item in items]


def read_samples(path: Path, preprocess: Preprocess, image: int) -> list[Sample]:
    """The samples of calibration file `path`; UserError where it is not one."""
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = dict(file)
        ids: list[list[int]] = [row[row != PADDING].tolist() for row in arrays["ids"]]
        pixels = _pixels(arrays, preprocess)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(
            f"{path} is not a calibration file ({error}); it is an .npz with `frames` or `pixels`, "
            "and `ids`"
        ) from error
    seen = arrays.get("media_index")
    index = [
        np.cumsum(np.array(row) == image).tolist() if seen is None else seen[i][: len(row)].tolist()
        for i, row in enumerate(ids)
    ]
    return [Sample(*parts) for parts in zip(pixels, ids, index, strict=True)]


def write_samples(path: Path, samples: Sequence[Sample]) -> None:
    """Write a calibration file that `read_samples` reads back."""
    longest = max(len(sample.ids) for sample in samples)
    ids = np.full((len(samples), longest), PADDING, np.int64)
    index = np.zeros_like(ids)
    for row, sample in enumerate(samples):
        ids[row, : len(sample.ids)] = sample.ids
        index[row, : len(sample.ids)] = sample.media_index
    pixels = np.stack([sample.pixels for sample in samples])
    np.savez_compressed(path, pixels=pixels, ids=ids, media_index=index)


def random_samples(
    config: OtterConfig, count: int, frames: int = 1, length: int = 32
) -> list[Sample]:
    """Noise in the shape of samples, for random weights; the same at every call."""
    rng = np.random.default_rng(0)
    size, tokens = config.vision.image_size, config.tokens
    special = {tokens.image, tokens.answer, tokens.endofchunk, tokens.pad, tokens.bos}
    plain = [token for token in range(config.decoder.vocab) if token not in special]
    pixels = rng.standard_normal((count, frames, 3, size, size), np.float32)
    ids = [[tokens.image, *rng.choice(plain, length - 1).tolist()] for _ in range(count)]
    if tokens.answer is not None:
        ids = [[*row[:-9], tokens.answer, *row[-8:]] for row in ids]
    return [Sample(p, row, [1] * len(row)) for p, row in zip(pixels, ids, strict=True)]


def samples_sha256(samples: Sequence[Sample]) -> str:
    """Hex sha256 over everything the samples hold."""
    digest = hashlib.sha256()
    for sample in samples:
        digest.update(np.ascontiguousarray(sample.pixels).data)
        digest.update(np.array([sample.ids, sample.media_index], np.int64).tobytes())
    return digest.hexdigest()


def _pixels(arrays: dict[str, NDArray[np.generic]], preprocess: Preprocess) -> list[Floats]:
    if "pixels" in arrays:
        return list(arrays["pixels"].astype(np.float32))
    to_pixels = Preprocessor(preprocess)
    frames = arrays["frames"].astype(np.uint8, casting="safe")
    return [np.stack([to_pixels(frame) for frame in window]) for window in frames]
