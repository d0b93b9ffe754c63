"""A picture in 256 numbers: enough to say how much a scene changed, and cheap at any size.

It knows brightness only; what changed, and whether that matters, others say.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from otter_runtime.frame import Pixels

SIDE = 16
SAMPLES = 4  # per side of a cell: 48 numbers of a cell, so that a sensor's noise averages out
Sketch = NDArray[np.uint8]  # (SIDE, SIDE) mean brightness

BLANK: Sketch = np.zeros((SIDE, SIDE), np.uint8)


def sketched(pixels: Pixels) -> Sketch:
    """The sketch of a frame (height, width, 3): the mean of some pixels of each cell."""
    rows, columns = (_spread(edge) for edge in pixels.shape[:2])
    # Whole rows, then columns of them, and whole numbers: a quarter of the time of picking each
    # sample by itself and a mean of floats.
    picked = pixels.take(rows, 0).take(columns, 1).reshape(SIDE, SAMPLES, SIDE, SAMPLES * 3)
    sums = picked.sum(1, dtype=np.uint16).sum(2, dtype=np.uint16)  # (SIDE, SIDE)
    mean: Sketch = (sums // (SAMPLES * SAMPLES * 3)).astype(np.uint8)
    return mean


def packed(seen: Sketch) -> bytes:
    """A sketch as bytes."""
    return seen.tobytes()


def unpacked(data: bytes) -> Sketch:
    """A sketch from its bytes."""
    return np.frombuffer(data, np.uint8).reshape(SIDE, SIDE)


def change(one: Sketch, other: Sketch) -> float:
    """Mean difference in brightness, 0 (the same) to 1 (black against white)."""
    return float(np.abs(one.astype(np.int16) - other).mean() / 255)


@lru_cache(maxsize=16)
def _spread(edge: int) -> NDArray[np.intp]:
    """Places along an edge of so many pixels, evenly apart, each in the middle of its stretch."""
    many = SIDE * SAMPLES
    return (2 * np.arange(many) + 1) * edge // (2 * many)
