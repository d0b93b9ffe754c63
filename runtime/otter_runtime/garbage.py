"""Keeps Python's garbage collector from what stays, so that it never holds a step up for long.

A full collection looks at every object there is, and modules, tokenizer and grammar are a hundred
thousand: 12 ms in the middle of an answer, measured (`benchmarks/latency.py`, the loop's own time).
Nothing of them is ever garbage. What comes later is looked at as before.
"""

from __future__ import annotations

import gc


def settle() -> None:
    """What there is now stays until the process ends; to be called once everything is loaded."""
    gc.collect()
    gc.freeze()
