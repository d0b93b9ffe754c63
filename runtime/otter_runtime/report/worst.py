"""The moments of a trial that somebody should look at first.

Six lists, each with its worst first: wrong answers, abstentions, late answers, faults, answers the
model was least sure of, and slow ones, each of these two at most half of all. The moments are taken
from them in turns, so that one that is long does not hide the others. It knows moments; it does not
know pictures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import Literal

import msgspec

from otter_robots.messages import Abstain, Answer, Question
from otter_runtime.report.judged import Judge
from otter_runtime.report.latency import total_ms
from otter_runtime.report.reading import Moment, Reading
from otter_runtime.report.troubles import Trouble
from otter_runtime.trials.channels import Show

MOST = 10
Kind = Literal["wrong", "abstained", "late", "fault", "unsure", "slow"]


class Worst(msgspec.Struct, frozen=True, kw_only=True):
    """One of them: of which lists it is, what was asked and said, and the frames it is about.

    `frame_ids` are oldest first and `orders` the messages of the trial that show them. `times` is
    how often the same came one after the other, until `until_s`.
    """

    kinds: list[Kind]
    at_s: float
    until_s: float
    times: int = 1
    question: str = ""
    question_id: str = ""  # of a question that somebody asked
    said: str = ""
    why: str = ""
    confidence: float | None = None
    total_ms: float | None = None
    age_ms: float | None = None
    ttl_ms: float | None = None
    frame_ids: list[int] = []
    orders: list[int] = []


def worst(
    reading: Reading, troubles: Sequence[Trouble], judge: Judge, most: int = MOST
) -> list[Worst]:
    """At most so many, by their time."""
    answers = reading.of(Answer)
    sure = [one for one in answers if one.what.confidence is not None]
    shown = reading.of(Show)
    late = [one for one in answers if one.what.late]
    wrong = [one for one in answers if _wrong(one.what, judge)]
    by_lateness = _ranked(late, lambda answer: answer.age_ms - answer.ttl_ms)
    by_doubt = _ranked(sure, lambda answer: -(answer.confidence or 0.0))
    lists: list[Iterator[Worst]] = [
        (_answer(one, "wrong", judge) for one in wrong),
        iter(_abstained(reading.of(Abstain))),
        (_answer(one, "late", judge) for one in by_lateness),
        (_fault(one) for one in troubles if one.kind == "fault"),
        (_answer(one, "unsure", judge) for one in _half(by_doubt)),
        (_answer(one, "slow", judge) for one in _half(_ranked(answers, total_ms))),
    ]
    found: dict[tuple[float, str], Worst] = {}
    for turn in zip_longest(*lists):
        for one in turn:
            if one is not None:
                _add(found, one, most)
        if len(found) == most:
            break
    questions = {one.what.id: one.what.text for one in reading.of(Question)}
    return [
        _with_frames(_with_question(one, questions), shown)
        for one in sorted(found.values(), key=lambda one: one.at_s)
    ]


def _add(found: dict[tuple[float, str], Worst], one: Worst, most: int) -> None:
    """One that is there already is of one list more."""
    key = one.at_s, one.said
    if key in found:
        kinds = [*found[key].kinds, *one.kinds]
        found[key] = msgspec.structs.replace(found[key], kinds=kinds)
    elif len(found) < most:
        found[key] = one


def _ranked(
    answers: Sequence[Moment[Answer]], bad: Callable[[Answer], float]
) -> list[Moment[Answer]]:
    """The worst first, of equals the earliest."""
    return sorted(answers, key=lambda one: -bad(one.what))


def _half(ranked: list[Moment[Answer]]) -> list[Moment[Answer]]:
    """The worse one: the surest answer is not unsure, however few there are."""
    return ranked[: (len(ranked) + 1) // 2]


def _wrong(answer: Answer, judge: Judge) -> bool:
    verdict = judge(answer)
    return verdict is not None and not verdict.correct


def _answer(one: Moment[Answer], kind: Kind, judge: Judge) -> Worst:
    answer = one.what
    verdict = judge(answer)
    wrong = verdict is not None and not verdict.correct
    return Worst(
        kinds=[kind],
        at_s=round(one.at_s, 3),
        until_s=round(one.at_s, 3),
        question=answer.instruction or "",
        question_id=answer.question_id or "",
        said=answer.text,
        why=f"right: {verdict.truth.action}" if verdict and wrong else "",
        confidence=answer.confidence,
        total_ms=answer.timing.get("total_ms"),
        age_ms=answer.age_ms,
        ttl_ms=answer.ttl_ms,
        frame_ids=list(answer.frame_ids),
    )


def _abstained(moments: Sequence[Moment[Abstain]]) -> list[Worst]:
    """Those with one reason, one after the other, are one moment; the longest row first."""
    rows: list[Worst] = []
    for one in moments:
        said, why = f"no answer: {one.what.reason}", one.what.detail
        if rows and rows[-1].said == said:
            rows[-1] = msgspec.structs.replace(
                rows[-1], times=rows[-1].times + 1, until_s=round(one.at_s, 3)
            )
            continue
        rows.append(
            Worst(
                kinds=["abstained"],
                at_s=round(one.at_s, 3),
                until_s=round(one.at_s, 3),
                question=one.what.instruction or "",
                question_id=one.what.question_id or "",
                said=said,
                why=why,
                frame_ids=list(one.what.frame_ids),
            )
        )
    return sorted(rows, key=lambda row: -row.times)


def _fault(trouble: Trouble) -> Worst:
    return Worst(
        kinds=["fault"],
        at_s=trouble.begin_s,
        until_s=trouble.begin_s if trouble.end_s is None else trouble.end_s,
        said=f"fault: {trouble.code}",
        why=trouble.detail,
    )


def _with_question(one: Worst, questions: Mapping[str, str]) -> Worst:
    asked = questions.get(one.question_id)
    return msgspec.structs.replace(one, question=asked) if asked and not one.question else one


def _with_frames(one: Worst, shown: Sequence[Moment[Show]]) -> Worst:
    """With the messages that show its frames; where it names none, the last one before it."""
    before = [show for show in shown if show.at_s <= one.at_s]
    if not one.frame_ids:
        last = before[-1:]
        return msgspec.structs.replace(
            one, frame_ids=[s.what.stamp.id for s in last], orders=[s.order for s in last]
        )
    # Numbers begin anew with another run: the last that had it is meant.
    orders = {show.what.stamp.id: show.order for show in before}
    return msgspec.structs.replace(
        one, orders=[orders[frame] for frame in one.frame_ids if frame in orders]
    )
