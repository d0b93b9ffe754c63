"""How many asks there were, and what became of them.

It knows asks and what was published; it does not know who asked.
"""

from __future__ import annotations

from collections import Counter

import msgspec

from otter_robots.messages import Abstain, Answer, Health, Question
from otter_runtime.report.judged import Judge
from otter_runtime.report.reading import Reading
from otter_runtime.wire import Ask


class Counts(msgspec.Struct, frozen=True, kw_only=True):
    """`asked` is None where only what was published is recorded.

    `quiet` answers were not said, as they said nothing new; `open` asks have no end in the
    recording. `right` are of the `judged` answers, those of which the truth is known.
    """

    asked: int | None
    questions: int | None
    answered: int
    abstained: int
    late: int
    partial: int
    quiet: int
    open: int | None
    reasons: dict[str, int]
    judged: int
    right: int


def counts(reading: Reading, judge: Judge) -> Counts:
    """Count what was recorded."""
    answers, abstains = reading.of(Answer), reading.of(Abstain)
    beats, asks = reading.of(Health), reading.of(Ask)
    quiet = beats[-1].what.quiet if beats else 0
    verdicts = [verdict for one in answers if (verdict := judge(one.what)) is not None]
    questions = len(reading.of(Question))
    asked = sum(one.what.standing for one in asks) + questions if asks or questions else None
    ended = len(answers) + len(abstains) + quiet
    return Counts(
        asked=asked,
        questions=None if asked is None else questions,
        answered=len(answers),
        abstained=len(abstains),
        late=sum(one.what.late for one in answers),
        partial=sum(one.what.partial for one in answers),
        quiet=quiet,
        open=None if asked is None else max(0, asked - ended),
        reasons=dict(Counter(one.what.reason for one in abstains).most_common()),
        judged=len(verdicts),
        right=sum(verdict.correct for verdict in verdicts),
    )
