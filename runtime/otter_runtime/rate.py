"""How many pictures a second a source gives, where it does not say so or says nonsense."""

from __future__ import annotations

FALLBACK_HZ = 25.0
SANE_HZ = (0.1, 1000.0)


def sane_hz(rate_hz: float) -> float:
    """The rate that a source says it has, or FALLBACK_HZ."""
    low, high = SANE_HZ
    return rate_hz if low <= rate_hz <= high else FALLBACK_HZ
