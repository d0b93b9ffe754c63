"""Accepted pairs as MIMIC-IT: ids, picture ids, and the other pairs of a clip as contexts."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from otter_tuning.mimicit.instructions import Instruction, Instructions
from otter_tuning.syphus.pairs import Pair
from otter_tuning.syphus.queries import Query

DIGITS = 5
ENGLISH = "en"


@dataclass(frozen=True)
class Accepted:
    """What is kept of one query: pairs by language, in the order of English."""

    query: Query
    pairs: dict[str, list[Pair]] = field(default_factory=dict)


def assemble(name: str, accepted: Iterable[Accepted], images: Sequence[str]) -> Instructions:
    """The file of task `name`; `images` are the ids that there are pictures for.

    Ids count through the file in the order of the queries, `DC_INS_00001`; another language's twin
    is `DC_INS_00001_zh`. A pair's contexts are the others of its query, in its language.
    """
    made = Instructions({"version": "0.0.1", "author": "Syphus", "time": ""})
    known, count = sorted(images), 0
    for one in accepted:
        shown = one.query.images or tuple(_frames(known, one.query.frames_of))
        for language, pairs in one.pairs.items():
            end = "" if language == ENGLISH else f"_{language}"
            names = [f"{name}_INS_{count + at:0{DIGITS}d}{end}" for at in range(1, len(pairs) + 1)]
            for this, pair in zip(names, pairs, strict=True):
                others = tuple(other for other in names if other != this)
                made.add(Instruction(this, pair.question, pair.answer, shown, others))
        count += max(map(len, one.pairs.values()), default=0)
    return made


def _frames(known: Sequence[str], prefix: str | None) -> Iterator[str]:
    """The ids that begin with `prefix`, of ids in order."""
    if prefix is None:
        return
    for name in known[bisect_left(known, prefix) :]:
        if not name.startswith(prefix):
            return
        yield name
