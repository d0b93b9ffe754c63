"""How far probabilities can be believed: temperature, calibration error, Brier score, abstention.

It knows log likelihoods of alternatives and which one is right; it does not know models. n =
questions, A = alternatives (several may be ways of saying one thing: then they share a group).
Sources: temperature and expected calibration error as Guo et al. 2017
(https://arxiv.org/abs/1706.04599), Brier 1950 over all groups, abstention as the risk-coverage
curve of Geifman and El-Yaniv 2017 (https://arxiv.org/abs/1705.08500).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
BINS = 10
LOWEST, HIGHEST = -3.0, 4.0  # natural logarithm of the temperature


def shares(scores: Floats, groups: Sequence[int], temperature: float) -> Floats:
    """Probabilities of the groups, (n, groups), from scores (n, A)."""
    logits = scores / temperature
    raised = np.exp(logits - logits.max(1, keepdims=True))
    raised /= raised.sum(1, keepdims=True)
    summed = np.zeros((len(scores), max(groups) + 1))
    for column, group in enumerate(groups):
        summed[:, group] += raised[:, column]
    return summed


def nll(probabilities: Floats, right: NDArray[np.int64]) -> float:
    """Mean negative log probability of the right group."""
    held = probabilities[np.arange(len(right)), right]
    return float(-np.log(np.maximum(held, 1e-300)).mean())


def fit_temperature(scores: Floats, groups: Sequence[int], right: NDArray[np.int64]) -> float:
    """The temperature of least negative log likelihood, by golden section of its logarithm."""
    ratio, low, high = (5**0.5 - 1) / 2, LOWEST, HIGHEST

    def loss(logarithm: float) -> float:
        return nll(shares(scores, groups, float(np.exp(logarithm))), right)

    while high - low > 1e-3:
        left, middle = high - ratio * (high - low), low + ratio * (high - low)
        low, high = (low, middle) if loss(left) < loss(middle) else (left, high)
    return float(np.exp((low + high) / 2))


@dataclass(frozen=True)
class Bin:
    """Answers whose confidence lies in one tenth: how many, how sure, how often right."""

    low: float
    high: float
    count: int
    confidence: float
    accuracy: float


def reliability(probabilities: Floats, right: NDArray[np.int64]) -> list[Bin]:
    """The non-empty bins of equal width."""
    confidence, correct = probabilities.max(1), probabilities.argmax(1) == right
    places = np.minimum((confidence * BINS).astype(int), BINS - 1)
    return [
        Bin(
            place / BINS,
            (place + 1) / BINS,
            int((places == place).sum()),
            float(confidence[places == place].mean()),
            float(correct[places == place].mean()),
        )
        for place in range(BINS)
        if (places == place).any()
    ]


def ece(probabilities: Floats, right: NDArray[np.int64]) -> float:
    """Expected calibration error: the bins' gaps, weighted by their counts."""
    bins = reliability(probabilities, right)
    return sum(one.count * abs(one.confidence - one.accuracy) for one in bins) / len(right)


def brier(probabilities: Floats, right: NDArray[np.int64]) -> float:
    """Mean squared distance to the truth over all groups, 0 to 2."""
    truth = np.eye(probabilities.shape[1])[right]
    return float(((probabilities - truth) ** 2).sum(1).mean())


def abstention(
    probabilities: Floats, right: NDArray[np.int64], thresholds: Sequence[float]
) -> list[dict[str, float | None]]:
    """For each least confidence: the share answered, and how much of that is right."""
    confidence, correct = probabilities.max(1), probabilities.argmax(1) == right
    rows: list[dict[str, float | None]] = []
    for threshold in thresholds:
        kept = confidence >= threshold
        accuracy = float(correct[kept].mean()) if kept.any() else None
        rows.append({"threshold": threshold, "answered": float(kept.mean()), "accuracy": accuracy})
    return rows
