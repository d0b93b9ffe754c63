"""The questions that two runs have in common, side by side.

It knows what makes two questions the same: within one trial their number, across trials the asker's
id, and for an instruction its words and the very frame of the source that was the newest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from otter_runtime.compare.exchange import Exchange, Run
from otter_runtime.compare.wording import same
from otter_runtime.errors import UserError

Key = tuple[str | int | None, ...]


@dataclass(frozen=True)
class Pair:
    """What became of one question in both runs."""

    a: Exchange
    b: Exchange

    @property
    def same(self) -> bool:
        """Whether both say the same, or both nothing."""
        return same(self.a.answer, self.b.answer)

    @property
    def other_frames(self) -> bool:
        """Whether both answered, each about other frames."""
        answered = self.a.answer is not None and self.b.answer is not None
        return answered and self.a.index != self.b.index

    @property
    def place(self) -> Exchange:
        """The one of both that says which frame it is about, `a` first."""
        return self.b if self.a.index is None and self.b.index is not None else self.a


@dataclass(frozen=True)
class Pairing:
    """The pairs in the order of `a`, and how many questions only one of the runs has."""

    a: Run
    b: Run
    pairs: tuple[Pair, ...]
    only_a: int
    only_b: int


def within_a_trial(one: Exchange) -> Key:
    """The same ask, played to two bundles; what never was one has its asker's id alone."""
    return (one.ask,) if one.ask else across_trials(one)


def across_trials(one: Exchange) -> Key:
    """The same question, recorded twice."""
    if one.question_id is not None:
        return ("question", one.question_id)
    return ("instruction", one.question, one.source, one.index)


def paired_up(a: Run, b: Run, by: Callable[[Exchange], Key]) -> Pairing:
    """Every question that both runs were asked. Raises UserError where there is none."""
    ours, theirs = _by_key(a.exchanges, by), _by_key(b.exchanges, by)
    pairs = tuple(Pair(one, theirs[key]) for key, one in ours.items() if key in theirs)
    if not pairs:
        raise UserError(
            f"{a.name} has {len(ours)} answers and {b.name} {len(theirs)}, but none to the same "
            "question: record both with the same clips or question ids, or replay one trial "
            "with --a and --b"
        )
    return Pairing(a, b, pairs, len(ours) - len(pairs), len(theirs) - len(pairs))


def _by_key(exchanges: Iterable[Exchange], by: Callable[[Exchange], Key]) -> dict[Key, Exchange]:
    """By key; where one comes again (an asker's ids begin anew), by how often it came before."""
    found: dict[Key, Exchange] = {}
    times: dict[Key, int] = {}
    for one in exchanges:
        key = by(one)
        times[key] = times.get(key, 0) + 1
        found[(*key, times[key])] = one
    return found
