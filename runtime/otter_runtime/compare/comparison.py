"""What differs between two runs, in figures: agreement, score, abstentions, latency.

It knows pairs and who knows what is right; it does not know when a difference is too much.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Literal

import msgspec
import numpy as np

from otter_runtime.compare.exchange import Clock, Run
from otter_runtime.compare.interval import Estimate, bootstrapped, share
from otter_runtime.compare.pairing import Pair, Pairing
from otter_runtime.compare.truth import Judge, verdicts
from otter_runtime.compare.wording import likeness, parting
from otter_runtime.errors import UserError
from otter_runtime.paired import Paired, paired
from otter_runtime.percentile import percentile

Preference = tuple[bool, bool]  # a was preferred, b was; neither where they are the same


class Side(msgspec.Struct, frozen=True, kw_only=True):
    """One of both runs, in counts; `reasons` are those of its abstentions."""

    name: str
    model: str
    model_hash: str
    clock: Clock
    questions: int
    answered: int
    late: int
    reasons: dict[str, int]


class Stage(msgspec.Struct, frozen=True, kw_only=True):
    """Milliseconds of one stage; `difference` is the median of b - a, question by question."""

    stage: str
    a_p50: float
    a_p95: float
    b_p50: float
    b_p95: float
    difference: Estimate


class Divergence(msgspec.Struct, frozen=True, kw_only=True):
    """The first pair that differs, its place among the pairs, and after how many words."""

    at: int
    question: str
    frames: tuple[int, ...]
    source: str
    index: int | None
    words: int


class Score(msgspec.Struct, frozen=True, kw_only=True):
    """Shares of `n` questions that were right, or preferred, with McNemar's test; see Paired."""

    of: Literal["right", "preferred", "abstained"]
    n: int
    first: float
    second: float
    only_first: int
    only_second: int
    difference: float
    low: float
    high: float
    p_value: float


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that is known of the difference between `a` and `b`.

    `agreement` is the share of pairs that say the same words, `identical` the same letters,
    `likeness` the mean share of words that they share. In `other_frames` of the pairs both answered
    about other frames. `score` is None where nobody knows what is right and nobody rated.
    """

    a: Side
    b: Side
    pairs: int
    only_a: int
    only_b: int
    other_frames: int
    agreement: Estimate
    identical: Estimate
    likeness: Estimate
    score: Score | None
    abstentions: Score
    confidence: Estimate | None
    stages: tuple[Stage, ...]
    divergence: Divergence | None


def compared(
    pairing: Pairing, judge: Judge | None = None, votes: Sequence[Preference] = ()
) -> Comparison:
    """The figures; the score is by `judge`, where there is one, else by `votes`.

    Raises UserError where the judge knows no answer at all.
    """
    pairs = pairing.pairs
    silent = [(pair.a.answer is None, pair.b.answer is None) for pair in pairs]
    abstentions = _score("abstained", silent)
    assert abstentions is not None  # there is a pair
    return Comparison(
        a=_side(pairing.a),
        b=_side(pairing.b),
        pairs=len(pairs),
        only_a=pairing.only_a,
        only_b=pairing.only_b,
        other_frames=sum(pair.other_frames for pair in pairs),
        agreement=share(sum(pair.same for pair in pairs), len(pairs)),
        identical=share(sum(pair.a.answer == pair.b.answer for pair in pairs), len(pairs)),
        likeness=bootstrapped([likeness(pair.a.answer, pair.b.answer) for pair in pairs]),
        score=_score("right", _judged(pairs, judge)) or _score("preferred", votes),
        abstentions=abstentions,
        confidence=_confidence(pairs),
        stages=_stages(pairs),
        divergence=_divergence(pairs),
    )


def _side(run: Run) -> Side:
    silent = [one.reason for one in run.exchanges if one.answer is None]
    return Side(
        name=run.name,
        model=run.model,
        model_hash=run.model_hash,
        clock=run.clock,
        questions=len(run.exchanges),
        answered=len(run.exchanges) - len(silent),
        late=sum(one.late for one in run.exchanges),
        reasons=dict(Counter(silent).most_common()),
    )


def _judged(pairs: Sequence[Pair], judge: Judge | None) -> list[tuple[bool, bool]]:
    if judge is None:
        return []
    found = [known for pair in pairs if (known := verdicts(pair, judge)) is not None]
    if not found:
        raise UserError(
            f"nobody knows what is right: none of the {len(pairs)} questions is one that --labels "
            "or --expect is about; they go by the very words, and the file's name without folders"
        )
    return found


def _score(
    of: Literal["right", "preferred", "abstained"], seen: Sequence[tuple[bool, bool]]
) -> Score | None:
    if not seen:
        return None
    figures: Paired = paired([a for a, _ in seen], [b for _, b in seen])
    return Score(of=of, **asdict(figures))


def _confidence(pairs: Sequence[Pair]) -> Estimate | None:
    """How much surer of itself b is, on average."""
    both = [
        pair.b.confidence - pair.a.confidence
        for pair in pairs
        if pair.a.confidence is not None and pair.b.confidence is not None
    ]
    return bootstrapped(both) if both else None


def _stages(pairs: Sequence[Pair]) -> tuple[Stage, ...]:
    names = dict.fromkeys(name for pair in pairs for name in pair.a.timing)
    return tuple(stage for name in names if (stage := _stage(name, pairs)) is not None)


def _stage(name: str, pairs: Sequence[Pair]) -> Stage | None:
    both = [
        (pair.a.timing[name], pair.b.timing[name])
        for pair in pairs
        if name in pair.a.timing and name in pair.b.timing
    ]
    if not both:
        return None
    a, b = [x for x, _ in both], [y for _, y in both]
    return Stage(
        stage=name.removesuffix("_ms"),
        a_p50=percentile(a, 50),
        a_p95=percentile(a, 95),
        b_p50=percentile(b, 50),
        b_p95=percentile(b, 95),
        difference=bootstrapped([y - x for x, y in both], np.median),
    )


def _divergence(pairs: Sequence[Pair]) -> Divergence | None:
    for at, pair in enumerate(pairs):
        if not pair.same:
            return Divergence(
                at=at,
                question=pair.a.question,
                frames=pair.place.frames,
                source=pair.place.source,
                index=pair.place.index,
                words=parting(pair.a.answer or "", pair.b.answer or ""),
            )
    return None
