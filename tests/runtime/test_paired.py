"""Paired verdicts: counts, the interval, the exact test."""

from __future__ import annotations

import math
import random

import pytest

from otter_runtime.paired import paired


def verdicts(both: int, only_first: int, only_second: int, neither: int) -> tuple[list[bool], ...]:
    cells = [(True, True)] * both + [(True, False)] * only_first
    cells += [(False, True)] * only_second + [(False, False)] * neither
    return [a for a, _ in cells], [b for _, b in cells]


def test_the_textbook_example() -> None:
    # Agresti, Categorical Data Analysis, table 10.1: 794, 150, 86, 570.
    result = paired(*verdicts(794, 150, 86, 570))
    assert result.difference == pytest.approx((86 - 150) / 1600)
    assert (result.low, result.high) == pytest.approx((-0.0587, -0.0213), abs=2e-4)
    assert result.p_value == pytest.approx(3.7e-5, rel=0.1)


def test_equal_verdicts_are_no_proof_of_no_difference() -> None:
    result = paired(*verdicts(95, 0, 0, 5))
    assert result.p_value == 1.0
    assert result.low < 0 < result.high
    assert result.high == pytest.approx(-result.low)


def test_the_order_of_the_questions_does_not_matter() -> None:
    a, b = verdicts(50, 20, 4, 30)
    mixed = list(zip(a, b, strict=True))
    random.Random(0).shuffle(mixed)
    assert paired(a, b) == paired([x for x, _ in mixed], [y for _, y in mixed])
    assert paired(a, b).p_value == pytest.approx(
        2 * sum(math.comb(24, k) for k in range(5)) / 2**24
    )


def test_the_interval_covers_the_truth() -> None:
    rng, covered = random.Random(1), 0
    for _ in range(400):
        a = [rng.random() < 0.9 for _ in range(300)]
        b = [right != (rng.random() < 0.05) for right in a]
        result = paired(a, b)
        covered += result.low <= -0.05 * 0.9 + 0.05 * 0.1 <= result.high
    assert 0.92 < covered / 400 <= 1.0


def test_what_cannot_be_paired() -> None:
    with pytest.raises(ValueError, match="1 and 2 verdicts"):
        paired([True], [True, False])
    with pytest.raises(ValueError, match="0 and 0 verdicts"):
        paired([], [])
