"""A comparison in a dozen lines for a terminal, and as one object for a program.

It knows what was found; it does not know how.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from otter_robots.terminal import printable
from otter_runtime.compare.comparison import Comparison, Side
from otter_runtime.compare.exchange import Clock
from otter_runtime.compare.gate import Finding, Verdict
from otter_runtime.compare.interval import Estimate
from otter_runtime.compare.row import Row
from otter_runtime.compare.standings import Standing

CLOCKS: dict[Clock, str] = {
    "device": "measured when it was recorded",
    "table": "by the bundle's table of what a step costs, not measured",
}


def clocks(a: Side, b: Side) -> str:
    """Where the times are from."""
    if a.clock == b.clock:
        return CLOCKS[a.clock]
    return f"a {CLOCKS[a.clock]}, b {CLOCKS[b.clock]}; their difference says little"


def counted(number: int, noun: str) -> str:
    """1 word, 2 words."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def paired(comparison: Comparison) -> str:
    """How many questions there were, and whether both saw the same."""
    said = (
        f"{counted(comparison.pairs, 'question')} in both, {comparison.only_a} only in a, "
        f"{comparison.only_b} only in b"
    )
    if not comparison.other_frames:
        return said
    said += f"; {comparison.other_frames} were answered about other frames"
    if comparison.a.clock == comparison.b.clock:
        return said
    return f"{said}, for a device has other times than a replay: leave --timed out, or give --a"


def percents(figure: Estimate) -> str:
    """A share and its interval."""
    return f"{figure.value:.1%} ({figure.low:.1%} to {figure.high:.1%})"


def lines(comparison: Comparison, found: Sequence[Finding], said: Verdict) -> Iterator[str]:
    """What a person reads, the verdict last."""
    for line in _lines(comparison, found, said):
        yield printable(line)


def _lines(comparison: Comparison, found: Sequence[Finding], said: Verdict) -> Iterator[str]:
    for name, side in (("a", comparison.a), ("b", comparison.b)):
        silent = ", ".join(f"{count} {reason}" for reason, count in side.reasons.items()) or "none"
        yield f"{name}  {side.name}  {side.model} {side.model_hash[:16]}"
        yield (
            f"   {side.questions} questions, {side.answered} answered, {side.late} late, "
            f"abstained: {silent}"
        )
    yield paired(comparison)
    yield f"the same words  {percents(comparison.agreement)}"
    yield f"shared words    {percents(comparison.likeness)}"
    if comparison.confidence is not None:
        yield f"b surer by      {percents(comparison.confidence)}"
    yield from _stages(comparison)
    if (first := comparison.divergence) is not None:
        where = f" at frame {first.index} of {first.source}" if first.index is not None else ""
        yield f"first apart at question {first.at + 1}{where}: {first.question}"
    for one in found:
        yield f"{'✓' if one.passed else '✗'} {one.says}"
    yield said


def _stages(comparison: Comparison) -> Iterator[str]:
    if comparison.stages:
        yield f"milliseconds, {clocks(comparison.a, comparison.b)}"
    for one in comparison.stages:
        change = one.difference
        yield (
            f"  {one.stage:<14} {one.a_p50:8.1f} {one.b_p50:8.1f}   "
            f"{change.value:+.2f} ({change.low:+.2f} to {change.high:+.2f})"
        )


def as_json(
    comparison: Comparison, found: Sequence[Finding], said: Verdict, rows: Sequence[Row]
) -> dict[str, Any]:
    """Everything, the pairs with their answers among it."""
    whole: dict[str, Any] = msgspec.to_builtins(comparison)
    return whole | {
        "verdict": said,
        "findings": msgspec.to_builtins(found),
        "rows": [_row(row) for row in rows],
    }


def _row(row: Row) -> dict[str, Any]:
    right = row.right or (None, None)
    a, b = msgspec.to_builtins((row.pair.a, row.pair.b))
    return {"same": row.pair.same, "a": a | {"right": right[0]}, "b": b | {"right": right[1]}}


def table(found: Sequence[Standing]) -> Iterator[str]:
    """Standings, the strongest first."""
    for one in found:
        yield printable(
            f"{one.elo:7.0f} ({one.low:.0f} to {one.high:.0f})  {one.name}  {one.votes} votes: "
            f"{one.won} won, {one.lost} lost, {one.same} neither"
        )
