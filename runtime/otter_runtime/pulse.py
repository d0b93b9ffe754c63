"""The brain's signs of life: how long the step that begins now may take before it counts as hung.

A fixed time-out would have to be longer than the longest step of the largest model on the slowest
device, and would notice a hung engine of a small one as late. So the brain promises its next sign
of life instead: QUIET_S more than the step costs by the bundle's table, or by the worst that was
seen here lately, and no less than FACTOR times that. A hang is known within 2 s where no step costs
more than half a second. Of a step that never ran here nothing is known (the first may load
kernels), so it may take the longest time there is. It knows neither engines nor processes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

BEAT_S = 0.4  # between two signs of life while nothing changes
QUIET_S = 1.4  # no promise is shorter: the machine does other things too
SLACK_S = 0.05  # a promise that is longer by this stands: to say it anew costs more than it tells
FACTOR = 4.0  # a step may take so many times what it is known to
FORGETS = 0.97  # per step, so that one bad moment of the machine does not excuse later ones


class Pulse:
    """`say` sends the seconds within which the next sign comes; `cost_ms` is per unit of a step."""

    def __init__(
        self, say: Callable[[float], None], cost_ms: Mapping[str, float], longest_s: float
    ) -> None:
        self._say, self._cost_ms, self._longest_s = say, cost_ms, longest_s
        self._worst_ms: dict[str, float] = {}
        self._running: tuple[str, int, float] | None = None
        self._promised_s, self._said_s = 0.0, float("-inf")

    def begin(self, step: str, units: int) -> None:
        """A step begins; what ran before it is over."""
        now_s = time.monotonic()
        self._end(now_s)
        self._running = step, units, now_s
        self._promise(self._patience_s(step, units), now_s)

    def rest(self) -> None:
        """No step runs; the next sign comes within QUIET_S."""
        now_s = time.monotonic()
        self._end(now_s)
        self._promise(min(QUIET_S, self._longest_s), now_s)

    def _end(self, now_s: float) -> None:
        if self._running is not None:
            step, units, begun_s = self._running
            took_ms = 1e3 * (now_s - begun_s) / units
            self._worst_ms[step] = max(took_ms, FORGETS * self._worst_ms.get(step, 0.0))
            self._running = None

    def _patience_s(self, step: str, units: int) -> float:
        if step not in self._worst_ms:
            return self._longest_s
        cost_s = max(self._worst_ms[step], self._cost_ms.get(step, 0.0)) * units / 1e3
        return min(max(FACTOR * cost_s, cost_s + QUIET_S), self._longest_s)

    def _promise(self, patience_s: float, now_s: float) -> None:
        stands = patience_s <= self._promised_s <= patience_s + SLACK_S
        if not stands or now_s - self._said_s >= BEAT_S:
            self._say(patience_s)
            self._promised_s, self._said_s = patience_s, now_s
