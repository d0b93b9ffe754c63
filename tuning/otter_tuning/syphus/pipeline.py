"""Queries to accepted pairs: ask, read, filter, translate; every rejected pair with its reason.

It knows the order of the work; how a model is reached, a reply read, a rule applied, others know.
The outcome depends on the replies alone, not on when they came.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from otter_tuning.syphus.assembly import ENGLISH, Accepted
from otter_tuning.syphus.filters import Context, reason_against
from otter_tuning.syphus.model import CallFailed, Model
from otter_tuning.syphus.pairs import Pair, Unreadable, read_pairs
from otter_tuning.syphus.queries import Query
from otter_tuning.syphus.task import Task, translation

Progress = Callable[[str, int, int], None]
# A reply that cannot be read is asked for again with another seed, so often.
SEEDS = 3


@dataclass(frozen=True)
class Rejected:
    """A pair that is not kept, or a query that brought none: where, what, why."""

    query: str
    language: str
    reason: str
    question: str = ""
    answer: str = ""


@dataclass
class Outcome:
    """What came of the queries, in their order."""

    accepted: list[Accepted] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)

    @property
    def reasons(self) -> Counter[str]:
        """How often each reason."""
        return Counter(one.reason for one in self.rejected)


@dataclass(frozen=True)
class Pipeline:
    """One task, asked of one model, in English and `languages`."""

    task: Task
    model: Model
    languages: tuple[str, ...] = ()

    async def run(self, queries: Sequence[Query], progress: Progress) -> Outcome:
        """Ask about every query; as many at once as the model has room for."""
        done = 0

        async def one(query: Query) -> Outcome:
            nonlocal done
            outcome = await self._query(query)
            done += 1
            progress("queries", done, len(queries))
            return outcome

        outcome = Outcome()
        for part in await asyncio.gather(*map(one, queries)):
            outcome.accepted += part.accepted
            outcome.rejected += part.rejected
        return outcome

    async def _query(self, query: Query) -> Outcome:
        rejected: list[Rejected] = []
        made = Accepted(query)
        context = Context(names=query.names, rules=tuple(self.task.rules))
        written = await self._written(query, rejected)
        made.pairs[ENGLISH] = _kept(written, context, query, rejected)
        if not made.pairs[ENGLISH]:
            return Outcome([], rejected)
        turned = [self._translated(query, made.pairs[ENGLISH], one) for one in self.languages]
        for language, (pairs, lost) in zip(
            self.languages, await asyncio.gather(*turned), strict=True
        ):
            rejected += lost
            if pairs:
                made.pairs[language] = pairs
        return Outcome([made], rejected)

    async def _written(self, query: Query, rejected: list[Rejected]) -> list[Pair]:
        """The pairs that the model writes; asks again where a reply cannot be read."""
        name = self.model.endpoint.model
        for seed in range(SEEDS):
            try:
                return read_pairs((await self.model(self.task.request(query, name, seed))).text)
            except Unreadable as error:
                rejected.append(Rejected(query.id, ENGLISH, "unreadable", answer=str(error)))
            except CallFailed as error:
                rejected.append(Rejected(query.id, ENGLISH, "no-reply", answer=str(error)))
                break
        return []

    async def _translated(
        self, query: Query, pairs: list[Pair], language: str
    ) -> tuple[list[Pair], list[Rejected]]:
        """`pairs` in `language`, or none: a translation is kept whole, so that twins agree."""
        rejected: list[Rejected] = []
        for seed in range(SEEDS):
            request = translation(pairs, language, self.model.endpoint.model, seed)
            try:
                turned = read_pairs((await self.model(request)).text)
            except Unreadable as error:
                rejected.append(Rejected(query.id, language, "unreadable", answer=str(error)))
                continue
            except CallFailed as error:
                rejected.append(Rejected(query.id, language, "no-reply", answer=str(error)))
                break
            if len(turned) != len(pairs):
                told = f"{len(turned)} pairs of {len(pairs)}"
                rejected.append(Rejected(query.id, language, "other-number", answer=told))
            elif len(_kept(turned, Context(language), query, rejected)) == len(pairs):
                return turned, rejected
        return [], rejected


def _kept(
    pairs: Sequence[Pair], context: Context, query: Query, rejected: list[Rejected]
) -> list[Pair]:
    kept = []
    for pair in pairs:
        if (reason := reason_against(pair, context)) is None:
            kept.append(pair)
        else:
            told = (pair.question, pair.answer)
            rejected.append(Rejected(query.id, context.language, reason, *told))
    return kept
