"""How far a figure may be off by chance: 95 % intervals of shares, means and medians.

It knows numbers only. Pairs of one recording that follow each other closely are alike, so that its
intervals are somewhat too narrow for them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from otter_runtime.paired import NORMAL_95

ROUNDS, SEED = 2000, 0
BATCH = 1 << 22  # figures that are drawn at once


class Estimate(msgspec.Struct, frozen=True, kw_only=True):
    """A figure of `n` observations and its 95 % interval `low`..`high`."""

    n: int
    value: float
    low: float
    high: float


Statistic = Callable[..., Any]


def share(count: int, n: int) -> Estimate:
    """`count` of `n`, with Wilson's interval, which is honest where all or none are counted."""
    if n == 0:
        return Estimate(n=0, value=0.0, low=0.0, high=1.0)
    p, z2 = count / n, NORMAL_95**2
    centre = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = NORMAL_95 * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    return Estimate(n=n, value=p, low=max(0.0, centre - half), high=min(1.0, centre + half))


def bootstrapped(figures: Sequence[float], statistic: Statistic = np.mean) -> Estimate:
    """A statistic (np.mean, np.median) of the figures, with a percentile bootstrap interval.

    Seeded, so that the same figures give the same interval. ValueError where there are none.
    Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993), 13.3.
    """
    if not figures:
        raise ValueError("there are no figures to estimate from")
    seen = np.asarray(figures, np.float64)
    drawn = np.concatenate([statistic(sample, axis=1) for sample in _samples(seen)])
    low, high = np.percentile(drawn, [2.5, 97.5])
    value = float(statistic(seen, axis=0))
    return Estimate(n=len(seen), value=value, low=float(low), high=float(high))


def _samples(seen: NDArray[np.float64]) -> Iterator[NDArray[np.float64]]:
    """ROUNDS samples (rounds, n) with replacement, in pieces that fit into memory."""
    generator, left, n = np.random.default_rng(SEED), ROUNDS, len(seen)
    while left:
        rounds = min(left, max(1, BATCH // n))
        yield seen[generator.integers(0, n, (rounds, n))]
        left -= rounds
