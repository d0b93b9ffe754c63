"""From figures to places on a plot, and the round figures that are written beside it.

It knows numbers and time; it does not know drawing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

TIMES_S = (
    *(0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800),
    *(3600, 7200, 14_400, 21_600, 43_200, 86_400),
)


@dataclass(frozen=True)
class Scale:
    """Values from `low` to `high`, lower than high; `ticks` are those that have a `label`.

    A logarithmic one has positive values only; what is below `low` lies on it.
    """

    low: float
    high: float
    ticks: Sequence[float]
    label: Callable[[float], str]
    logarithmic: bool = False

    def at(self, value: float) -> float:
        """The place of a value, 0 to 1."""
        value = min(max(value, self.low), self.high)
        if self.logarithmic:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)


def figures(values: Iterable[float], least: float | None = 0.0, whole: bool = False) -> Scale:
    """A scale with room for all values, from `least` on; None: from a little below them.

    With `whole` its ticks are integers.
    """
    known = [value for value in values if math.isfinite(value)] or [0.0, 1.0]
    low = min(known) if least is None else least
    high = max(*known, low)
    # What differs by less than a float can be divided into is one value.
    spread = high - low if high - low > 1e-9 * abs(high) else 0.0
    step = _round((spread or abs(high) or 1.0) / 4)
    step = max(1.0, step) if whole else step
    low = math.floor(low / step + 1e-9) * step
    count = max(1, math.ceil((high - low) / step - 1e-9))
    ticks = [low + step * number for number in range(count + 1)]
    return Scale(low, ticks[-1], ticks, lambda value: shortly(value, step))


def magnitudes(values: Iterable[float]) -> Scale:
    """A logarithmic scale of positive values, where a few are far above the rest."""
    known = [value for value in values if math.isfinite(value) and value > 0] or [1.0, 10.0]
    first, last = math.floor(math.log10(min(known))), math.ceil(math.log10(max(known)))
    last = max(last, first + 1)
    ticks = [10.0**power for power in range(first, last + 1)]
    return Scale(ticks[0], ticks[-1], ticks, lambda value: f"{value:g}", logarithmic=True)


def moments(seconds: float, most: int = 9) -> Scale:
    """Time from 0 to `seconds`."""
    seconds = max(seconds, 0.1)
    days = math.ceil(seconds / most / TIMES_S[-1]) * TIMES_S[-1]
    step = next((step for step in TIMES_S if seconds / step <= most), days)
    ticks = [step * number for number in range(math.floor(seconds / step + 1e-9) + 1)]
    return Scale(0.0, seconds, ticks, lambda value: clock(value, tenths=step < 1))


def clock(seconds: float, tenths: bool = False) -> str:
    """`1:05`, `1:05.2` or `2:01:05`: how long after the beginning."""
    tens = round(max(0.0, seconds) * 10)
    minutes, rest = divmod(tens if tenths else tens // 10 * 10, 600)
    hours, minutes = divmod(minutes, 60)
    second = f"{rest / 10:04.1f}" if tenths else f"{rest // 10:02}"
    return f"{hours}:{minutes:02}:{second}" if hours else f"{minutes}:{second}"


def shortly(value: float, step: float) -> str:
    """A figure with as many digits as its steps need."""
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    return f"{value:,.{digits}f}".replace(",", "\u202f")


def _round(value: float) -> float:
    """The next larger of 1, 2 and 5, times a power of ten."""
    power = 10.0 ** math.floor(math.log10(value))
    return next(power * one for one in (1, 2, 5, 10) if power * one >= value * (1 - 1e-9))
