"""Sound at another rate, block by block: a windowed sinc in as many phases as the rates need.

An output sample k lies at input time k * from / to. Written as a fraction of whole numbers, that
time has one of `to / gcd` places between two input samples, so that as many rows of weights, made
once, are all that is needed: output = the inputs around it times the row of its place. Below the
input's rate the sinc is wider, and cuts off what the output cannot hold (aliases).
It knows samples, not where they are from.
"""

from __future__ import annotations

from math import ceil, gcd

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.int16]

ZERO_CROSSINGS = 24  # on each side: a tone in the band keeps 60 dB over what the filter adds
PASS = 0.92  # of the lower half rate; the rest is the filter's slope
BETA = 8.0  # Kaiser's; side lobes 80 dB down


class Resampler:
    """Mono int16 from one rate to another; what it is given goes on where the last block ended."""

    def __init__(self, from_hz: int, to_hz: int) -> None:
        shared = gcd(from_hz, to_hz)
        self._up, self._down = to_hz // shared, from_hz // shared
        cutoff = PASS * min(1.0, to_hz / from_hz)
        half = ceil(ZERO_CROSSINGS / cutoff)
        self._weights = _weights(self._up, half, cutoff)  # (phases, taps)
        self._held = np.zeros(half - 1, np.int16)
        self._phase = 0  # of the next output, in 1/up input samples after the first one held

    def __call__(self, samples: Samples) -> Samples:
        """(n,) int16 to about n * to / from; half a filter's length (1-2 ms) is held back."""
        if self._up == self._down:
            return samples
        held = np.concatenate([self._held, samples])
        taps = self._weights.shape[1]
        last = (len(held) - taps + 1) * self._up - 1
        at = np.arange(self._phase, last + 1, self._down)
        if at.size:
            around = np.lib.stride_tricks.sliding_window_view(held, taps)[at // self._up]
            made = np.einsum("ij,ij->i", around, self._weights[at % self._up])
        else:
            made = np.zeros(0)
        after = self._phase + self._down * at.size
        self._held, self._phase = held[after // self._up :], after % self._up
        rounded: Samples = np.clip(np.rint(made), -32768, 32767).astype(np.int16)
        return rounded


def _weights(phases: int, half: int, cutoff: float) -> NDArray[np.float64]:
    """Row p weighs the 2 * half inputs around a point p / phases after the middle one."""
    place = np.arange(phases)[:, None] / phases
    away = np.arange(1 - half, half + 1)[None, :] - place  # (phases, taps), in input samples
    window = np.i0(BETA * np.sqrt(np.clip(1 - (away / half) ** 2, 0, 1)))
    weights = np.sinc(cutoff * away) * window
    summed: NDArray[np.float64] = weights / weights.sum(axis=1, keepdims=True)
    return summed
