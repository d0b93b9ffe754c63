"""Two sets of verdicts on the same questions: how far apart, and is it more than chance?

Only the questions on which the two disagree tell anything (McNemar, Psychometrika 12, 1947).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

NORMAL_95 = 1.959964


@dataclass(frozen=True)
class Paired:
    """`first` and `second` are shares that were right, of `n` questions.

    `only_first` and `only_second` count the questions that just one got right. `difference` is
    second - first, with its 95 % interval `low`..`high`; `p_value` is McNemar's exact two-sided
    test of no difference.
    """

    n: int
    first: float
    second: float
    only_first: int
    only_second: int
    difference: float
    low: float
    high: float
    p_value: float


def paired(first: Sequence[bool], second: Sequence[bool]) -> Paired:
    """Compare verdicts question by question; ValueError where there are not as many, or none.

    The interval is Agresti and Min's (Statistics in Medicine 24, 2005): half a question is added
    to each of the four cells, which keeps it honest where the two hardly ever disagree.
    """
    if len(first) != len(second) or not first:
        raise ValueError(f"{len(first)} and {len(second)} verdicts cannot be paired")
    n = len(first)
    only_first = sum(a and not b for a, b in zip(first, second, strict=True))
    only_second = sum(b and not a for a, b in zip(first, second, strict=True))
    b, c, m = only_first + 0.5, only_second + 0.5, n + 2
    centre = (c - b) / m
    half = NORMAL_95 * math.sqrt(b + c - (c - b) ** 2 / m) / m
    return Paired(
        n=n,
        first=sum(first) / n,
        second=sum(second) / n,
        only_first=only_first,
        only_second=only_second,
        difference=(only_second - only_first) / n,
        low=max(centre - half, -1.0),
        high=min(centre + half, 1.0),
        p_value=_exact(only_first, only_second),
    )


def _exact(b: int, c: int) -> float:
    """Two-sided binomial test of b against c successes at even odds."""
    tail = sum(math.comb(b + c, k) for k in range(min(b, c) + 1))
    return min(1.0, 2 * tail / (1 << (b + c)))
