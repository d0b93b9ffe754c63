"""Paired comparison: counts, McNemar's exact test, an interval that holds what it should."""

from __future__ import annotations

import numpy as np
import pytest
from paired import Paired


def test_only_questions_that_differ_count() -> None:
    base = np.array([True, True, False, False, True])
    other = np.array([True, False, True, False, False])
    assert Paired.of(base, other) == Paired(asked=5, only_base=2, only_other=1)


def test_mcnemars_exact_p() -> None:
    # Sides of a coin: 2 · (C(10,0) + C(10,1)) / 2^10.
    assert Paired(100, only_base=9, only_other=1).p == pytest.approx(22 / 1024)
    assert Paired(100, 0, 0).p == 1
    assert Paired(100, 5, 5).p == 1


def test_the_interval_is_around_the_difference_and_narrows() -> None:
    few, many = Paired(100, 10, 4), Paired(10_000, 1000, 400)
    assert few.difference == many.difference == pytest.approx(-0.06)
    for pair in (few, many):
        low, high = pair.interval
        assert low < pair.difference < high
    assert np.diff(many.interval) < 0.15 * np.diff(few.interval)


def test_no_difference_seen_is_not_none_possible() -> None:
    low, high = Paired(1000, 0, 0).interval
    assert low < 0 < high
    assert -low == pytest.approx(high)


def test_the_interval_covers_the_truth() -> None:
    rng = np.random.default_rng(0)
    outcome = rng.choice(4, size=(2000, 600), p=[0.9, 0.06, 0.02, 0.02])
    covered = []
    for row in outcome:
        low, high = Paired(600, int((row == 1).sum()), int((row == 2).sum())).interval
        covered.append(low < 0.02 - 0.06 < high)
    assert np.mean(covered) > 0.93
