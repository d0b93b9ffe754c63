"""The order of training: batches of one group each, every sample once an epoch, the same each run.

A group (stills, videos, in-context, text) is drawn in proportion to its size because its batches
are shuffled among all; nothing is drawn twice. The plan of an epoch depends on the seed and the
epoch alone, so a run goes on where it stopped, on any number of processes.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Planned:
    """One batch: indices of samples of one group."""

    group: str
    members: tuple[int, ...]


def plan(sizes: Mapping[str, int], batch: int, epoch: int, seed: int) -> list[Planned]:
    """The batches of an epoch; `sizes` are how many samples each group has."""
    batches = []
    for group, size in sizes.items():
        order = list(range(size))
        random.Random(f"{seed}/{epoch}/{group}").shuffle(order)
        batches += [
            Planned(group, tuple(order[start : start + batch])) for start in range(0, size, batch)
        ]
    random.Random(f"{seed}/{epoch}").shuffle(batches)
    return batches


def share(batches: Sequence[Planned], rank: int, world: int) -> list[Planned]:
    """What process `rank` of `world` takes: every `world`-th, as many each (a rest is left out)."""
    whole = len(batches) // world * world
    return list(batches[rank:whole:world])
