"""Cold start: a task's first examples, found by asking without any until they are good enough.

The paper says that this ends "when satisfactory examples exist"; here satisfactory is a number. A
reply's score is the mean of four shares in 0..1: pairs that keep every rule; how far their number
reaches what is wanted; questions that begin differently; and the annotation's own words that the
answers use.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgspec

from otter_runtime.errors import OtterError
from otter_tuning.syphus.filters import Context, reason_against
from otter_tuning.syphus.model import CallFailed, Model
from otter_tuning.syphus.pairs import Pair, Unreadable, read_pairs
from otter_tuning.syphus.queries import Query
from otter_tuning.syphus.task import Example, Task, Written

Progress = Callable[[str, int, int], None]
WANTED_PAIRS = 6
WORD = re.compile(r"[^\W\d_]{4,}")  # short words tell nothing of what is seen


class NotSatisfactory(OtterError):
    """The calls are used up and the examples are not good enough."""

    exit_code = 1


@dataclass(frozen=True)
class Candidate:
    """A query with the pairs written of it, and their score."""

    query: Query
    pairs: tuple[Pair, ...]
    score: float


async def cold_start(
    task: Task,
    model: Model,
    queries: Sequence[Query],
    wanted: int,
    least_score: float,
    most_calls: int,
    progress: Progress,
) -> tuple[Task, list[Candidate]]:
    """The task with its `wanted` best examples, once each of them scores `least_score` or more.

    Asks about one query after another, at most `most_calls`. Raises NotSatisfactory.
    """
    bare = msgspec.structs.replace(task, examples=[])
    best: list[Candidate] = []
    calls = min(most_calls, len(queries))
    for asked, query in enumerate(queries[:calls], 1):
        try:
            reply = await model(bare.request(query, model.endpoint.model))
            best.append(candidate(task, query, read_pairs(reply.text)))
        except (Unreadable, CallFailed):
            continue
        finally:
            progress("calls", asked, calls)
        best = sorted(best, key=lambda one: -one.score)[:wanted]
        if len(best) == wanted and best[-1].score >= least_score:
            return msgspec.structs.replace(task, examples=list(map(_example, best))), best
    told = f"{best[-1].score:.2f}" if len(best) == wanted else f"only {len(best)} readable replies"
    raise NotSatisfactory(
        f"after {calls} calls the worst of {wanted} examples scores {told}, {least_score} is "
        "wanted; write the system message more plainly, or give a lower --score"
    )


def candidate(task: Task, query: Query, pairs: Sequence[Pair]) -> Candidate:
    """`pairs` that keep the rules, and the score of the whole reply."""
    context = Context(names=query.names, rules=tuple(task.rules))
    kept = tuple(pair for pair in pairs if reason_against(pair, context) is None)
    if not kept:
        return Candidate(query, (), 0.0)
    starts = {tuple(pair.question.casefold().split()[:2]) for pair in kept}
    told = set(map(str.casefold, WORD.findall(query.text)))
    used = set(map(str.casefold, WORD.findall(" ".join(pair.answer for pair in kept))))
    shares = (
        len(kept) / len(pairs),
        min(1.0, len(kept) / WANTED_PAIRS),
        len(starts) / len(kept),
        min(1.0, 2 * len(told & used) / max(len(told), 1)),
    )
    return Candidate(query, kept, sum(shares) / len(shares))


def _example(one: Candidate) -> Example:
    return Example(one.query.text, [Written(pair.question, pair.answer) for pair in one.pairs])
