"""The statistics that a LeRobotDataset has of each feature, gathered while it is written.

As `compute_stats.py` of lerobot 0.4.4: min, max, mean, std, count and five quantiles, of pictures
per channel in [0, 1] and shaped (3, 1, 1); a dataset's are made of its episodes', its quantiles as
their mean weighted by count. Pictures are counted by level, so nothing of them is kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from otter_runtime.frame import Pixels

Numbers = NDArray[np.float64]
Stats = dict[str, Numbers]
QUANTILES = {"q01": 0.01, "q10": 0.10, "q50": 0.50, "q90": 0.90, "q99": 0.99}
LEVELS = np.arange(256) / 255.0


class Levels:
    """How often each level stands in each channel of the pictures so far."""

    def __init__(self) -> None:
        self._counts = np.zeros((3, 256), np.int64)
        self.pictures = 0

    def add(self, pixels: Pixels) -> None:
        """Count a picture (height, width, 3)."""
        for channel in range(3):
            self._counts[channel] += np.bincount(pixels[..., channel].ravel(), minlength=256)
        self.pictures += 1

    def stats(self) -> Stats:
        """Of at least one picture; each value is (3, 1, 1), `count` is pictures (1,)."""
        made = [_of_levels(counts) for counts in self._counts]
        found = {name: np.array([one[name] for one in made]).reshape(3, 1, 1) for name in made[0]}
        return found | {"count": np.array([self.pictures])}


def of_numbers(values: Sequence[Any]) -> Stats:
    """Of an episode's rows of one feature; each value is (n,), with n = 1 for scalars."""
    rows = np.asarray(values, np.float64).reshape(len(values), -1)
    found = {
        "min": rows.min(0),
        "max": rows.max(0),
        "mean": rows.mean(0),
        "std": rows.std(0),
        "count": np.array([len(rows)]),
    }
    return found | {name: np.quantile(rows, at, axis=0) for name, at in QUANTILES.items()}


def merged(parts: Sequence[Stats]) -> Stats:
    """A dataset's statistics of those of its episodes."""
    counts = np.array([float(part["count"][0]) for part in parts])
    weights = (counts / counts.sum()).reshape(-1, *[1] * parts[0]["mean"].ndim)

    def stacked(name: str) -> Numbers:
        return np.stack([part[name] for part in parts])

    mean: Numbers = (stacked("mean") * weights).sum(0)
    spread = stacked("std") ** 2 + (stacked("mean") - mean) ** 2
    found = {
        "min": stacked("min").min(0),
        "max": stacked("max").max(0),
        "mean": mean,
        "std": np.sqrt((spread * weights).sum(0)),
        "count": np.array([int(counts.sum())]),
    }
    return found | {name: (stacked(name) * weights).sum(0) for name in QUANTILES}


def _of_levels(counts: NDArray[np.int64]) -> dict[str, float]:
    shares, seen = counts / counts.sum(), np.flatnonzero(counts)
    mean = float(shares @ LEVELS)
    below = np.cumsum(counts)  # whole numbers, so that no rounding moves a quantile
    found = {
        "min": float(LEVELS[seen[0]]),
        "max": float(LEVELS[seen[-1]]),
        "mean": mean,
        "std": float(np.sqrt(shares @ (LEVELS - mean) ** 2)),
    }
    for name, at in QUANTILES.items():
        found[name] = float(LEVELS[np.searchsorted(below, at * below[-1])])
    return found
