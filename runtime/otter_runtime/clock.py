"""Time as the step loop sees it: the machine's, or one that only moves by what steps cost.

With the virtual clock the same inputs give the same schedule on any machine, because no step is
ever measured.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Protocol

# Milliseconds per unit of each step, for bundles that carry no table of their own.
DEFAULT_COST_MS = {"encode": 10.0, "resample": 5.0, "prefill": 1.0, "decode": 10.0}


class Clock(Protocol):
    """Tells the time, and is told what was done."""

    def now_ns(self) -> int:
        """Monotonic nanoseconds."""

    def spend(self, step: str, units: int) -> None:
        """A step was done: frames encoded or resampled, tokens prefilled or decoded."""


class RealClock:
    """The machine's monotonic clock; what a step cost has passed already."""

    def now_ns(self) -> int:
        """Monotonic nanoseconds."""
        return time.monotonic_ns()

    def spend(self, step: str, units: int) -> None:
        """Nothing to do."""


class VirtualClock:
    """Moves only by the table's costs (milliseconds per unit) and by `advance_to`."""

    def __init__(self, cost_ms: Mapping[str, float] | None = None, start_ns: int = 0) -> None:
        self.cost_ms = {**DEFAULT_COST_MS, **(cost_ms or {})}
        self._now_ns = start_ns

    def now_ns(self) -> int:
        """Nanoseconds of virtual time."""
        return self._now_ns

    def spend(self, step: str, units: int) -> None:
        """Move on by the table's cost of `units` of `step`."""
        self._now_ns += round(self.cost_ms[step] * units * 1e6)

    def set_to(self, now_ns: int) -> None:
        """Be at `now_ns`, also an earlier one: for when nothing is under way."""
        self._now_ns = now_ns

    def advance_to(self, now_ns: int) -> None:
        """Move on to `now_ns`, where something happens; never back."""
        self._now_ns = max(self._now_ns, now_ns)
