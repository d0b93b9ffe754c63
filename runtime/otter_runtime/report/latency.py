"""How long an answer takes, stage by stage.

It knows the timing that answers and frames carry; it does not know how it is shown.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

import msgspec

from otter_robots.messages import Answer
from otter_runtime.percentile import percentile
from otter_runtime.report.reading import Moment, Reading
from otter_runtime.wire import Shown

# Stages of an answer that add up to its time, in their order; waiting is what they leave.
PARTS = ("wait", "resample", "prefill", "decode")
ABOUT = {
    "encode": "a frame goes through the vision graph",
    "wait": "for frames, for other questions",
    "resample": "the window becomes what the decoder sees",
    "prefill": "many tokens at once: the prompt's, and drafts",
    "decode": "the answer's tokens, one by one",
    "first token": "from the question to the first word",
    "whole answer": "from the question to the last word",
    "age": "of the newest frame when its answer is published",
}


class Stage(msgspec.Struct, frozen=True, kw_only=True):
    """Milliseconds of one stage over the trial; `mean` is what stages add up by."""

    name: str
    about: str
    count: int
    p50: float
    p95: float
    p99: float
    most: float
    mean: float


def stages(reading: Reading) -> list[Stage]:
    """Every stage that was recorded, a frame's first, an answer's age last."""
    found: dict[str, list[float]] = {name: [] for name in ABOUT}
    found["encode"] = [
        one.what.took_ms for one in reading.of(Shown) if one.what.took_ms is not None
    ]
    for one in reading.of(Answer):
        for name, took_ms in timing(one.what).items():
            found[name].append(took_ms)
    return [_stage(name, figures) for name, figures in found.items() if figures]


def timing(answer: Answer) -> dict[str, float]:
    """Milliseconds by stage of one answer, as far as they were recorded."""
    said = answer.timing
    found = {"age": answer.age_ms}
    found |= {name: said[f"{name}_ms"] for name in PARTS if f"{name}_ms" in said}
    if "first_token_ms" in said:
        found["first token"] = said["first_token_ms"]
    if "total_ms" in said:
        found["whole answer"] = said["total_ms"]
        found["wait"] = max(0.0, said["total_ms"] - sum(found.get(part, 0.0) for part in PARTS))
    return found


def total_ms(answer: Answer) -> float:
    """From the question to the last word; where nobody measured it, the age at publish."""
    return answer.timing.get("total_ms", answer.age_ms)


def columns(
    answers: Sequence[Moment[Answer]], seconds: float, most: int
) -> Iterator[tuple[float, float, dict[str, float]]]:
    """Equal stretches of the trial that had answers: from, to, and the mean of each part."""
    width = max(seconds, 1e-3) / most
    held: dict[int, list[dict[str, float]]] = defaultdict(list)
    for one in answers:
        held[min(int(one.at_s / width), most - 1)].append(timing(one.what))
    for number, within in sorted(held.items()):
        means = {part: sum(one.get(part, 0.0) for one in within) / len(within) for part in PARTS}
        yield number * width, (number + 1) * width, means


def _stage(name: str, figures: Sequence[float]) -> Stage:
    p50, p95, p99 = (round(percentile(figures, percent), 3) for percent in (50, 95, 99))
    return Stage(
        name=name,
        about=ABOUT[name],
        count=len(figures),
        p50=p50,
        p95=p95,
        p99=p99,
        most=round(max(figures), 3),
        mean=round(sum(figures) / len(figures), 3),
    )
