"""How old a camera's pictures are when they arrive: a screen that it films flashes, and we compare.

The screen turns bright and dark at moments of our choosing, each 0.35 to 0.85 s after the last, so
that no lag looks like another. What the camera saw is a brightness for each picture. The latency
is the lag at which the flashes fit the brightness best (the correlation's maximum, in the middle of
its plateau: between two pictures nobody can tell). The screen's own lag is in it, so the figure is
an upper bound; 10 to 50 ms of it are usual. Lags of up to LONGEST_MS are found.
"""

from __future__ import annotations

import random
import select
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from otter_runtime.drain import Drain
from otter_runtime.errors import UserError

SHORTEST_S, LONGEST_S = 0.35, 0.85  # at most 1.5 flashes a second: three may harm people
LONGEST_MS = 2000
STEP_MS = 1
LEAST_FIT = 0.6  # correlation below which the camera does not see the screen
LEAST_PICTURES = 20

Show = Callable[[bool], None]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Flash:
    """From `mono_ns` on the screen is bright, or dark."""

    mono_ns: int
    bright: bool


@dataclass(frozen=True)
class Sight:
    """A picture that arrived at `mono_ns`, and the mean of its pixels."""

    mono_ns: int
    level: float


@dataclass(frozen=True)
class Latency:
    """What was measured; `plus_minus_ms` is half the plateau, `fit` the correlation (0 to 1)."""

    latency_ms: float
    plus_minus_ms: float
    fit: float
    pictures: int
    flashes: int


def measure(drain: Drain, show: Show, seconds: float, seed: int | None = None) -> Latency:
    """Flash for so long and watch; `drain` is a live source that nobody else reads.

    Raises UserError where the camera gives too few pictures or does not see the screen.
    """
    drain.start()
    flashes: list[Flash] = []
    sights: list[Sight] = []
    for moment in _moments(seconds, random.Random(seed)):
        show(len(flashes) % 2 == 0)
        flashes.append(Flash(time.monotonic_ns(), len(flashes) % 2 == 0))
        sights += _watched(drain, moment)
    if drain.trouble:
        raise UserError(f"{drain.trouble}; mend that first")
    return fitted(flashes, sights)


def fitted(flashes: Sequence[Flash], sights: Sequence[Sight]) -> Latency:
    """The lag at which the flashes explain the sights; raises UserError where none does."""
    if len(sights) < LEAST_PICTURES:
        raise UserError(
            f"the camera gave {len(sights)} pictures, {LEAST_PICTURES} are the least to measure "
            "with; give a longer --seconds or a faster camera"
        )
    times = np.array([sight.mono_ns for sight in sights], np.float64) / 1e6
    levels = np.array([sight.level for sight in sights], np.float64)
    turned = np.array([flash.mono_ns for flash in flashes], np.float64) / 1e6
    bright = np.array([flash.bright for flash in flashes], np.float64)
    # Only what any lag has an answer for: pictures from LONGEST_MS after the first flash on.
    judged = times >= turned[0] + LONGEST_MS
    lags = np.arange(0, LONGEST_MS, STEP_MS, dtype=np.float64)
    fits = np.array([_fit(times[judged] - lag, levels[judged], turned, bright) for lag in lags])
    best = float(fits.max(initial=0.0))
    if best < LEAST_FIT:
        raise UserError(
            f"the camera does not see the screen flash (fit {best:.2f}, {LEAST_FIT} is the least); "
            "point it at the screen from near by, and darken the room"
        )
    plateau = lags[fits >= best - 1e-9]
    low, high = float(plateau[0]), float(plateau[-1])
    return Latency((low + high) / 2, (high - low) / 2, best, len(sights), len(flashes))


def _fit(times: Floats, levels: Floats, turned: Floats, bright: Floats) -> float:
    """Correlation of the brightness seen with that shown at `times`."""
    shown = bright[np.searchsorted(turned, times, side="right") - 1]
    if not len(levels) or np.ptp(shown) == 0 or np.ptp(levels) == 0:
        return 0.0
    return float(np.corrcoef(shown, levels)[0, 1])


def _moments(seconds: float, chance: random.Random) -> Iterator[float]:
    """When each flash ends, on the monotonic clock in seconds."""
    moment = time.monotonic()
    end = moment + seconds + LONGEST_MS / 1e3
    while moment < end:
        moment += chance.uniform(SHORTEST_S, LONGEST_S)
        yield moment


def _watched(drain: Drain, until_s: float) -> Iterator[Sight]:
    """Every picture that arrives until then."""
    while (left_s := until_s - time.monotonic()) > 0:
        select.select(drain.descriptors(), [], [], left_s)
        frame = drain.take()
        if frame is not None:
            yield Sight(frame.stamp.mono_ns, float(frame.pixels.mean()))
