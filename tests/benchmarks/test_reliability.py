"""The measures of calibration, on predictions whose calibration is known."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from reliability import abstention, brier, ece, fit_temperature, nll, reliability, shares

GROUPS = (0, 1, 2, 0)  # the first and the last say one thing


def drawn(count: int, temperature: float) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Scores, and truths that are drawn from them at this temperature."""
    random = np.random.default_rng(5)
    scores = random.normal(0, 4, (count, 4))
    held = shares(scores, GROUPS, temperature)
    right = [int(random.choice(3, p=row)) for row in held]
    return scores, np.array(right)


def test_the_temperature_that_made_the_truth_is_found() -> None:
    scores, right = drawn(4000, 2.5)
    assert fit_temperature(scores, GROUPS, right) == pytest.approx(2.5, rel=0.1)


def test_calibrated_predictions_have_next_to_no_error_and_sure_ones_do() -> None:
    scores, right = drawn(4000, 2.5)
    fair, sure = shares(scores, GROUPS, 2.5), shares(scores, GROUPS, 0.5)
    assert ece(fair, right) < 0.03 < 0.1 < ece(sure, right)
    assert brier(fair, right) < brier(sure, right)
    assert nll(fair, right) < nll(sure, right)


def test_by_hand() -> None:
    held = np.array([[0.8, 0.2], [0.8, 0.2], [0.4, 0.6]])
    right = np.array([0, 1, 1])
    low, high = reliability(held, right)
    assert (low.count, low.confidence, low.accuracy) == (1, 0.6, 1.0)
    assert (high.count, high.confidence, high.accuracy) == (2, 0.8, 0.5)
    assert ece(held, right) == pytest.approx((0.4 + 2 * 0.3) / 3)
    assert brier(held, right) == pytest.approx((0.08 + 1.28 + 0.32) / 3)
    assert abstention(held, right, [0.0, 0.7, 0.9]) == [
        {"threshold": 0.0, "answered": 1.0, "accuracy": pytest.approx(2 / 3)},
        {"threshold": 0.7, "answered": pytest.approx(2 / 3), "accuracy": 0.5},
        {"threshold": 0.9, "answered": 0.0, "accuracy": None},
    ]
    grouped = shares(np.zeros((1, 4)), GROUPS, 1.0)
    assert grouped[0].tolist() == [0.5, 0.25, 0.25]
