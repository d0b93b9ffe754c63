"""A pair as it is shown: with whether each answer is right, where somebody knows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from otter_runtime.compare.pairing import Pair
from otter_runtime.compare.truth import Judge, verdicts


class Row(NamedTuple):
    """A pair, and whether a and b are right."""

    pair: Pair
    right: tuple[bool, bool] | None = None


def rows(pairs: Sequence[Pair], judge: Judge | None) -> list[Row]:
    """Each pair, judged where there is a judge who knows."""
    return [Row(pair, verdicts(pair, judge) if judge else None) for pair in pairs]
