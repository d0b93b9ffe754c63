"""Two ways of answering the same questions: how much better is one, and how sure is that?"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Z = 1.959964  # 95 %


@dataclass(frozen=True)
class Paired:
    """Counts of questions that only the base, or only the other, answered rightly."""

    asked: int
    only_base: int
    only_other: int

    @classmethod
    def of(cls, base: NDArray[np.bool_], other: NDArray[np.bool_]) -> Paired:
        """From right or wrong per question (n,), in the same order."""
        return cls(len(base), int((base & ~other).sum()), int((other & ~base).sum()))

    @property
    def difference(self) -> float:
        """The other's accuracy less the base's."""
        return (self.only_other - self.only_base) / self.asked

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval of the difference: Agresti and Min's for pairs (Stat. Med. 24, 2005).

        McNemar's variance, with half a question added to each of the four outcomes.
        """
        n, shift = self.asked + 2, self.only_other - self.only_base
        spread = Z * math.sqrt(self.only_base + self.only_other + 1 - shift**2 / n) / n
        return shift / n - spread, shift / n + spread

    @property
    def p(self) -> float:
        """McNemar's exact two-sided p: how often chance alone splits so unevenly."""
        split = self.only_base + self.only_other
        if split == 0:
            return 1.0
        tail = sum(math.comb(split, k) for k in range(min(self.only_base, self.only_other) + 1))
        return float(min(1, 2 * tail / 2**split))
