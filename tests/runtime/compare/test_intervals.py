"""Intervals and standings: textbook figures, coverage, and the same figures from the same votes."""

from __future__ import annotations

import random

import numpy as np
import pytest

from otter_runtime.compare.interval import bootstrapped, share
from otter_runtime.compare.standings import Bout, standings


def test_wilsons_interval() -> None:
    # Newcombe, Statistics in Medicine 17 (1998), table I, method 3.
    assert (share(81, 263).low, share(81, 263).high) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    assert (share(0, 20).low, share(0, 20).high) == pytest.approx((0.0, 0.1611), abs=1e-4)
    assert share(5, 5).low < 0.6
    assert share(5, 5).high == 1.0
    assert (share(0, 0).low, share(0, 0).high) == (0.0, 1.0)


def test_the_bootstrap_is_seeded_and_covers_the_truth() -> None:
    generator, covered = np.random.default_rng(3), 0
    for _ in range(100):
        figures = list(generator.normal(1.0, 2.0, 60))
        found = bootstrapped(figures)
        assert found == bootstrapped(figures)
        covered += found.low <= 1.0 <= found.high
    assert 88 <= covered <= 100
    many = bootstrapped(list(np.arange(5000.0)), np.median)  # in several pieces
    assert many.low < many.value == 2499.5 < many.high
    with pytest.raises(ValueError, match="no figures"):
        bootstrapped([])


def test_standings_find_the_strengths_that_made_the_votes() -> None:
    elo = {"a": 1700.0, "b": 1500.0, "c": 1300.0}
    dice = random.Random(0)
    bouts = []
    for _ in range(600):
        x, y = dice.sample(sorted(elo), 2)
        bouts.append(Bout(x, y, dice.random() < 1 / (1 + 10 ** ((elo[y] - elo[x]) / 400))))
    found = standings(bouts)
    assert [one.name for one in found] == ["a", "b", "c"]
    for one in found:
        assert one.elo == pytest.approx(elo[one.name], abs=60)
        assert one.low < elo[one.name] < one.high
        assert one.votes == one.won + one.lost + one.same
    assert found == standings(bouts)
    assert sum(one.votes for one in found) == 1200


def test_ties_are_equal_and_one_that_never_lost_is_finite() -> None:
    tied = standings([Bout("a", "b", 0.5)] * 10)
    assert [one.elo for one in tied] == [1500, 1500]
    a, b = standings([Bout("b", "a", 0.0)] * 10)
    assert (a.name, a.won, b.lost) == ("a", 10, 10)
    assert 1500 < a.elo < 2500
    assert standings([Bout("a", "a", 0.5)]) == []
