"""How several runs stand to each other by pairwise votes: Bradley-Terry strengths on Elo's scale.

It knows who won how often; it does not know what was asked. A tie is half a win for both. Each run
also has a tie with everybody, worth one vote in all, so that one that never lost stays finite.
Source: Hunter, MM algorithms for generalized Bradley-Terry models, Annals of Statistics 32 (2004).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

ROUNDS, SEED, STEPS = 1000, 0, 200
CENTRE, SCALE = 1500.0, 400 / math.log(10)
PRIOR = 0.5  # wins of each over each of the others, shared among them


class Bout(NamedTuple):
    """One vote between two runs; `won` is 1 for `a`, 0 for `b` and 0.5 for neither."""

    a: str
    b: str
    won: float


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """A run's Elo with its 95 % bootstrap interval, and what it is from."""

    name: str
    elo: float
    low: float
    high: float
    votes: int
    won: int
    lost: int
    same: int


def standings(bouts: Sequence[Bout]) -> list[Standing]:
    """The strongest first; their mean is CENTRE. Seeded: the same votes give the same figures."""
    bouts = [bout for bout in bouts if bout.a != bout.b]
    names = sorted({name for bout in bouts for name in (bout.a, bout.b)})
    if not names:
        return []
    at = {name: number for number, name in enumerate(names)}
    table = np.array([(at[bout.a], at[bout.b], bout.won) for bout in bouts])
    kinds, counts = np.unique(table, axis=0, return_counts=True)
    elo = _elo(_wins(kinds, counts[None], len(names)))[0]
    # Votes drawn with replacement, by how often each kind of vote is drawn.
    generator = np.random.default_rng(SEED)
    drawn = generator.multinomial(len(bouts), counts / len(bouts), ROUNDS)
    low, high = np.percentile(_elo(_wins(kinds, drawn, len(names))), [2.5, 97.5], axis=0)
    found = [
        _standing(name, bouts, float(elo[i]), float(low[i]), float(high[i]))
        for i, name in enumerate(names)
    ]
    return sorted(found, key=lambda one: -one.elo)


def _standing(name: str, bouts: Sequence[Bout], elo: float, low: float, high: float) -> Standing:
    shares = [bout.won if bout.a == name else 1 - bout.won for bout in bouts if name in bout[:2]]
    return Standing(
        name=name,
        elo=round(elo, 1),
        low=round(low, 1),
        high=round(high, 1),
        votes=len(shares),
        won=shares.count(1.0),
        lost=shares.count(0.0),
        same=shares.count(0.5),
    )


def _wins(kinds: Floats, counts: NDArray[np.int64], runs: int) -> Floats:
    """How often each beat each, (rounds, runs, runs), by counts (rounds, kinds) of (a, b, won)."""
    a, b, won = kinds[:, 0].astype(int), kinds[:, 1].astype(int), kinds[:, 2]
    of_one = np.zeros((len(kinds), runs, runs))
    of_one[np.arange(len(kinds)), a, b] = won
    of_one[np.arange(len(kinds)), b, a] = 1 - won
    wins: Floats = np.tensordot(counts, of_one, 1)
    return wins + PRIOR / (runs - 1) * (1 - np.eye(runs))


def _elo(wins: Floats) -> Floats:
    """Elo (rounds, runs) that explains these wins best."""
    met = wins + wins.swapaxes(1, 2)
    won = wins.sum(2)
    strength = np.ones_like(won)
    for _ in range(STEPS):
        strength = won / (met / (strength[:, :, None] + strength[:, None, :])).sum(2)
        strength /= np.exp(np.log(strength).mean(1, keepdims=True))
    elo: Floats = CENTRE + SCALE * np.log(strength)
    return elo
