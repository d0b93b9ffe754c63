"""Runs made of a few words, for tests of what is compared."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from otter_runtime.compare.exchange import Exchange, Run
from otter_runtime.compare.pairing import Pairing, paired_up, within_a_trial

PLAN = "What should I do next?"


def exchange(number: int, answer: str | None, **changes: Any) -> Exchange:
    """An answer to the standing instruction about frames `number` and the one before."""
    facts: dict[str, Any] = {
        "question": PLAN,
        "answer": answer,
        "ask": str(number),
        "frames": (number - 1, number),
        "source": "clip.avi",
        "index": number,
        "confidence": 0.5,
        "timing": {"prefill_ms": 2.0, "total_ms": 10.0},
        "reason": "" if answer is not None else "busy",
    }
    return Exchange(**(facts | changes))


def run(name: str, *answers: str | None, **changes: Any) -> Run:
    """A run that gave these answers, one after the other."""
    exchanges = tuple(exchange(number, text) for number, text in enumerate(answers, 1))
    facts = {"name": name, "model": "m", "model_hash": name * 8, "exchanges": exchanges}
    return Run(**(facts | changes))


def pairing(a: Sequence[str | None], b: Sequence[str | None]) -> Pairing:
    """Two runs of one trial."""
    return paired_up(run("a", *a), run("b", *b), within_a_trial)
