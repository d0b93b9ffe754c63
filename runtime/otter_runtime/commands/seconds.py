"""A time on the command line."""

from __future__ import annotations

import argparse

LONGEST_S = 1e9


def seconds(text: str) -> float:
    """Seconds, 0 to LONGEST_S: what is beyond, or no number, no clock can wait for."""
    value = float(text)
    if not 0 <= value <= LONGEST_S:
        raise argparse.ArgumentTypeError(f"{text} is not a time from 0 to {LONGEST_S:g} seconds")
    return value
