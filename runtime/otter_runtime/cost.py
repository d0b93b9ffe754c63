"""What the next step will cost: the bundle's table, and once it ran here the median of that.

It knows names of steps and how many units they have; it does not know what they do. A unit's cost
is kept apart for each power of two of units: a token alone costs far more than a sixtieth of 60.
With a virtual clock a step takes what the clock's own table says, so the model becomes that table,
and everything decided by it repeats itself.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Mapping

from otter_runtime.clock import DEFAULT_COST_MS

REMEMBERED = 15  # steps of a kind: enough for a median, few enough to follow a clock that drops


class StepCost:
    """Nanoseconds of a step; `table_ms` are milliseconds per unit."""

    def __init__(self, table_ms: Mapping[str, float]) -> None:
        self._table_ms = {**DEFAULT_COST_MS, **table_ms}
        self._took: dict[tuple[str, int], deque[float]] = {}

    def ns(self, step: str, units: int) -> int:
        """What so many units of a step will take, 0 where there is none."""
        if not units:
            return 0
        times = self._took.get(_kind(step, units))
        return round(units * (_median(times) if times else self._table_ms[step] * 1e6))

    def took(self, step: str, units: int, nanoseconds: int) -> None:
        """A step was done."""
        kind = _kind(step, units)
        if kind not in self._took:
            self._took[kind] = deque(maxlen=REMEMBERED)
        self._took[kind].append(nanoseconds / units)


def putting(count: int) -> tuple[str, int]:
    """The step that puts `count` tokens of an answer behind its prompt: its name and units."""
    return ("decode", 1) if count == 1 else ("prefill", count)


def _median(times: Collection[float]) -> float:
    """The lower one of two."""
    return sorted(times)[(len(times) - 1) // 2]


def _kind(step: str, units: int) -> tuple[str, int]:
    return step, (units - 1).bit_length()
