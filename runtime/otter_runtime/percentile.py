"""Percentiles of a few figures, as reports give them."""

from __future__ import annotations

from collections.abc import Sequence


def percentile(figures: Sequence[float], percent: float) -> float:
    """The smallest figure that at least `percent` of them do not exceed; 0 where there are none."""
    if not figures:
        return 0.0
    ranked = sorted(figures)
    # Rounded up, in integers of a hundredth of a percent: 0.95 * 20 is a hair above 19.
    rank = -(-round(percent * 100) * len(ranked) // 10_000)
    return ranked[max(0, rank - 1)]


def spread(figures: Sequence[float]) -> dict[str, float]:
    """Median, 95th and 99th percentile and maximum, to a thousandth."""
    return {
        "p50": round(percentile(figures, 50), 3),
        "p95": round(percentile(figures, 95), 3),
        "p99": round(percentile(figures, 99), 3),
        "max": round(max(figures, default=0.0), 3),
    }
