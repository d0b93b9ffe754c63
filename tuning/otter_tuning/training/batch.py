"""Samples side by side as tensors: rows of any length, with any number of media of any number of
frames.

Frames of all rows lie flat, each once; a medium is the indices of its frames, so that media of as
many frames are resampled together and nothing is padded with pictures.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from otter_tuning.training.encoding import IGNORED, Encoded
from otter_tuning.training.labels import UNKNOWN

Pixels = Callable[[str], NDArray[np.float32]]
Patches = Callable[[str], NDArray[np.int64]]


@dataclass(frozen=True)
class Row:
    """One sample's tokens, readers of its pictures and of their patches' classes, and `slots` (S,),
    the classes of its last medium; the latter two where there are dense labels."""

    encoded: Encoded
    pixels: Pixels
    patches: Patches | None = None
    slots: NDArray[np.int64] | None = None


@dataclass(frozen=True)
class Batch:
    """B rows of L tokens, N frames, M media, each of them once.

    `pixels` (N, 3, H, W) float32; `media` are the indices of their frames; `seen` says which medium
    (third) a row (first) has in which place (second). `ids`, `labels` and `media_index` (B, L)
    int64, padded at the end. Dense labels: `patches` (N, P) and `slots` (M, S) int64, -1 unknown.
    """

    ids: Tensor
    labels: Tensor
    media_index: Tensor
    pixels: Tensor
    media: tuple[tuple[int, ...], ...]
    seen: tuple[tuple[int, int, int], ...]
    patches: Tensor | None = None
    slots: Tensor | None = None

    @property
    def learned(self) -> int:
        """How many tokens are learned."""
        return int((self.labels != IGNORED).sum())

    def to(self, device: torch.device) -> Batch:
        """The batch on `device`."""
        moved: dict[str, Any] = {
            name: value.to(device)
            for name, value in vars(self).items()
            if isinstance(value, Tensor)
        }
        return replace(self, **moved)


def collate(rows: Sequence[Row], pad: int, side: int) -> Batch:
    """Rows side by side; `side` is the pictures' size where there are none."""
    length = max(len(row.encoded.ids) for row in rows)
    ids = np.full((len(rows), length), pad, np.int64)
    labels = np.full((len(rows), length), IGNORED, np.int64)
    index = np.zeros((len(rows), length), np.int64)
    shown = _Shown()
    seen = []
    for at, row in enumerate(rows):
        here = slice(0, len(row.encoded.ids))
        ids[at, here], labels[at, here] = row.encoded.ids, row.encoded.labels
        index[at, here] = row.encoded.media_index
        last = len(row.encoded.media) - 1
        for place, names in enumerate(row.encoded.media):
            slots = row.slots if place == last else None
            seen.append((at, place, shown.medium(row, names, slots)))
    frames = np.stack(shown.frames) if shown.frames else np.zeros((0, 3, side, side), np.float32)
    words = [torch.from_numpy(array) for array in (ids, labels, index)]
    return Batch(
        words[0],
        words[1],
        words[2],
        torch.from_numpy(frames),
        tuple(shown.media),
        tuple(seen),
        _labelled(shown.patches, len(frames)),
        _labelled(shown.slots, len(shown.media)),
    )


class _Shown:
    """Frames and media of a batch as they are met, each once."""

    def __init__(self) -> None:
        self._places: dict[tuple[int, str], int] = {}
        self.frames: list[NDArray[np.float32]] = []
        self.patches: dict[int, NDArray[np.int64]] = {}
        self.media: dict[tuple[int, ...], int] = {}
        self.slots: dict[int, NDArray[np.int64]] = {}

    def medium(self, row: Row, names: Sequence[str], slots: NDArray[np.int64] | None) -> int:
        """The number of the medium of these frames, and what its slots are."""
        frames = tuple(self._frame(row, name) for name in names)
        number = self.media.setdefault(frames, len(self.media))
        if slots is not None:
            self.slots[number] = slots
        return number

    def _frame(self, row: Row, name: str) -> int:
        place = self._places.setdefault((id(row.pixels), name), len(self.frames))
        if place == len(self.frames):
            self.frames.append(row.pixels(name))
            if row.patches is not None:
                self.patches[place] = row.patches(name)
        return place


def _labelled(known: Mapping[int, NDArray[np.int64]], count: int) -> Tensor | None:
    """(count, …) with the rows that are known; None where none is."""
    if not known:
        return None
    rows = np.full((count, *next(iter(known.values())).shape), UNKNOWN, np.int64)
    for number, row in known.items():
        rows[number] = row
    return torch.from_numpy(rows)
