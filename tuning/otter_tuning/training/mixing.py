"""The order of training: batches of one group each, every sample once an epoch, the same each run.

A group (stills, videos, in-context, text) is drawn in proportion to its size because its batches
are shuffled among all; nothing is drawn twice. A unit (a sample, or all about one clip) is drawn
whole. The plan of an epoch depends on the seed and the
epoch alone, so a run goes on where it stopped, on any number of processes.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Planned:
    """One batch: indices of samples of one group, and which batch of the epoch it is."""

    group: str
    members: tuple[int, ...]
    place: int = 0


def plan(
    units: Mapping[str, Sequence[Sequence[int]]], batch: int, epoch: int, seed: int
) -> list[Planned]:
    """The batches of an epoch, of `batch` units each.

    `units` are each group's samples, those that must stay together in one.
    """
    batches = []
    for group, members in units.items():
        order = list(members)
        random.Random(f"{seed}/{epoch}/{group}").shuffle(order)
        for start in range(0, len(order), batch):
            taken = order[start : start + batch]
            batches.append((group, tuple(at for unit in taken for at in unit)))
    random.Random(f"{seed}/{epoch}").shuffle(batches)
    return [Planned(group, members, place) for place, (group, members) in enumerate(batches)]


def share(batches: Sequence[Planned], rank: int, world: int) -> list[Planned]:
    """What process `rank` of `world` takes: every `world`-th, as many each (a rest is left out)."""
    whole = len(batches) // world * world
    return list(batches[rank:whole:world])
