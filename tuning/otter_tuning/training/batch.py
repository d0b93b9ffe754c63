"""Samples side by side as tensors: rows of any length, with any number of media of any number of
frames.

Frames of all rows lie flat, each once; a medium is the indices of its frames, so that media of as
many frames are resampled together and nothing is padded with pictures.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from otter_tuning.training.encoding import IGNORED, Encoded

Pixels = Callable[[str], NDArray[np.float32]]


@dataclass(frozen=True)
class Batch:
    """B rows of L tokens, N frames, and per row up to M media.

    `pixels` (N, 3, H, W) float32; `media` has for each medium its row, its place in it, and its
    frames' indices; `ids`, `labels` and `media_index` (B, L) int64, padded at the end.
    """

    ids: Tensor
    labels: Tensor
    media_index: Tensor
    pixels: Tensor
    media: tuple[tuple[int, int, tuple[int, ...]], ...]

    @property
    def learned(self) -> int:
        """How many tokens are learned."""
        return int((self.labels != IGNORED).sum())

    def to(self, device: torch.device) -> Batch:
        """The batch on `device`."""
        ids, labels, index = (one.to(device) for one in (self.ids, self.labels, self.media_index))
        return Batch(ids, labels, index, self.pixels.to(device), self.media)


def collate(rows: Sequence[tuple[Encoded, Pixels]], pad: int, side: int) -> Batch:
    """Rows with a reader of their pictures; `side` is the pictures' size where there are none."""
    length = max(len(encoded.ids) for encoded, _ in rows)
    ids = np.full((len(rows), length), pad, np.int64)
    labels = np.full((len(rows), length), IGNORED, np.int64)
    index = np.zeros((len(rows), length), np.int64)
    places: dict[tuple[int, str], int] = {}
    frames: list[NDArray[np.float32]] = []
    media = []
    for row, (encoded, pixels) in enumerate(rows):
        here = slice(0, len(encoded.ids))
        ids[row, here], labels[row, here] = encoded.ids, encoded.labels
        index[row, here] = encoded.media_index
        for place, names in enumerate(encoded.media):
            for name in names:
                if (id(pixels), name) not in places:
                    places[id(pixels), name] = len(frames)
                    frames.append(pixels(name))
            media.append((row, place, tuple(places[id(pixels), name] for name in names)))
    stacked = np.stack(frames) if frames else np.zeros((0, 3, side, side), np.float32)
    words = [torch.from_numpy(array) for array in (ids, labels, index)]
    return Batch(words[0], words[1], words[2], torch.from_numpy(stacked), tuple(media))
