"""How much may change before a build is called worse, and the verdict, for a team's own CI.

It knows figures and limits; it does not know where they are from.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from otter_runtime.compare.comparison import Comparison, Score
from otter_runtime.errors import UserError

ALPHA = 0.05
AGREE = 0.9  # asked of b where nobody knows what is right, so that a has to be taken for it
WORSE = 3  # the exit code; 1 is an error on our side, 2 one on the user's

Verdict = Literal["no difference", "within the gate", "better", "worse"]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]


class Gate(msgspec.Struct, frozen=True, kw_only=True):
    """What is allowed; shares are 0 to 1.

    `min_agreement` is of pairs that say the same; None asks for AGREE where there is no score, and
    for nothing where there is. The score may drop, and abstentions rise, by `max_drop` and
    `max_abstain`: more is too much where it is also more than chance. `max_slower` is how much the
    median time to an answer may grow, None any.
    """

    min_agreement: Share | None = None
    max_drop: Share = 0.0
    max_abstain: Share = 0.0
    max_slower: Annotated[float, msgspec.Meta(ge=0)] | None = None
    min_pairs: Annotated[int, msgspec.Meta(ge=1)] = 1


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One limit held against one figure."""

    gate: str
    passed: bool
    says: str


def findings(comparison: Comparison, gate: Gate) -> list[Finding]:
    """Every limit that applies. Raises UserError where there are too few pairs to tell."""
    if comparison.pairs < gate.min_pairs:
        raise UserError(
            f"only {comparison.pairs} questions are in both runs, and min_pairs is "
            f"{gate.min_pairs}; record a longer trial, or lower --min-pairs"
        )
    found = [_agreement(comparison, gate), _drop(comparison, gate), _abstain(comparison, gate)]
    return [one for one in [*found, _slower(comparison, gate)] if one is not None]


def verdict(comparison: Comparison, found: list[Finding]) -> Verdict:
    """What it comes to: worse where a limit is passed."""
    score = comparison.score
    if not all(one.passed for one in found):
        return "worse"
    if comparison.divergence is None:
        return "no difference"
    if score is not None and score.difference > 0 and score.p_value < ALPHA:
        return "better"
    return "within the gate"


def _agreement(comparison: Comparison, gate: Gate) -> Finding | None:
    least = gate.min_agreement
    if least is None and comparison.score is None:
        least = AGREE
    if least is None:
        return None
    agreement = comparison.agreement
    says = f"{agreement.value:.1%} of {agreement.n} answers say the same; {least:.1%} are asked for"
    return Finding(gate="min_agreement", passed=agreement.value >= least, says=says)


def _drop(comparison: Comparison, gate: Gate) -> Finding | None:
    score = comparison.score
    if score is None:
        return None
    says = f"{_change(score)}; a drop of {gate.max_drop:.1%} is allowed"
    return Finding(
        gate="max_drop", passed=not _beyond(score, -score.difference, gate.max_drop), says=says
    )


def _abstain(comparison: Comparison, gate: Gate) -> Finding:
    silent = comparison.abstentions
    says = f"{_change(silent)}; a rise of {gate.max_abstain:.1%} is allowed"
    passed = not _beyond(silent, silent.difference, gate.max_abstain)
    return Finding(gate="max_abstain", passed=passed, says=says)


def _slower(comparison: Comparison, gate: Gate) -> Finding | None:
    if gate.max_slower is None:
        return None
    total = next((one for one in comparison.stages if one.stage == "total"), None)
    if total is None or comparison.a.clock != comparison.b.clock:
        raise UserError(
            "--max-slower needs times of one clock, and here one run has none, or was recorded and "
            "the other replayed; give two trials, or --a and --b, or leave it out"
        )
    grown = total.b_p50 / total.a_p50 - 1 if total.a_p50 else 0.0
    says = (
        f"an answer takes {grown:+.1%} ({total.a_p50:.1f} to {total.b_p50:.1f} ms, median); "
        f"{gate.max_slower:+.1%} is allowed"
    )
    return Finding(gate="max_slower", passed=grown <= gate.max_slower, says=says)


def _change(score: Score) -> str:
    chance = "more than chance" if score.p_value < ALPHA else "may be chance"
    interval = f"{score.low:+.1%} to {score.high:+.1%}"
    return (
        f"{score.of}: {score.first:.1%} to {score.second:.1%} of {score.n}, "
        f"{score.difference:+.1%} ({interval}; McNemar p = {score.p_value:.2g}, {chance})"
    )


def _beyond(score: Score, worse_by: float, allowed: float) -> bool:
    """Whether it is worse by more than is allowed, and by more than chance explains."""
    return worse_by > allowed and score.p_value < ALPHA
