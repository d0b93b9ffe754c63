"""Whether a window that slid far costs what a young one costs: time, engine calls, memory.

    python benchmarks/flat_cost.py                                  10,000 frames against 16
    python benchmarks/flat_cost.py --frames 2000 --bundle PATH --json

Two step loops share one engine in this process: one slides over all the frames of the demo's clips,
again and again, and is asked something now and then, the other over the last 16 of them. Then both
see the same frames and are asked the same, in turns, each time another one first. Prints a table,
then one JSON line: `ratio` of the medians of their answers' times (at most 1.05 is wanted),
`ratio_cpu` of their processor times, whether engine calls and answers are the same, and what
resident memory grew by over the last nine tenths of the frames. Ends with 1 where it is not flat.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import Counter
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from statistics import median
from typing import Any

from outcome import Report, lines, tell
from processes import footprint
from soak_day import QUESTIONS, RATE_HZ, pictures

from otter_runtime.assembly import POCKET
from otter_runtime.bundle import Bundle
from otter_runtime.clock import RealClock
from otter_runtime.engine import Engine
from otter_runtime.frame import Frame, Pixels, Stamp
from otter_runtime.garbage import settle
from otter_runtime.loop import StepLoop
from otter_runtime.onnx_engine import open_engine
from otter_runtime.wire import Ask, Said

YOUNG, ASK_EVERY = 16, 50
PARTS = {"encode": 0, "resample": 0, "prefill": 1, "logits": 1}  # which argument has many
GROWS_MIB, GROWS, RATIO = 8.0, 0.01, 1.05


class Counted:
    """Counts the calls of an engine, by name and by how many tokens or frames they are about."""

    def __init__(self, engine: Engine) -> None:
        self.calls: Counter[str] = Counter()
        self._engine = engine

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._engine, name)
        if not callable(value):
            return value

        def counted(*arguments: Any) -> Any:
            about = arguments[PARTS[name]] if name in PARTS else ()
            self.calls[f"{name} {len(about)}"] += 1
            return value(*arguments)

        return counted


class Sliding:
    """One step loop and its window; `calls` are what the last answer asked of the engine."""

    def __init__(self, bundle: Bundle, engine: Engine) -> None:
        self._counted = Counted(engine)
        self.loop = StepLoop(self._counted, bundle.manifest, bundle.tokenizer(), RealClock())
        self.frames = 0

    def slide(self, number: int, pixels: Pixels) -> None:
        """One more frame."""
        self.loop.show(Frame(_stamp(number), pixels))
        self.loop.step()
        self.frames += 1

    def answer(self, question: str) -> tuple[str, float, float, Counter[str]]:
        """The answer, its seconds on the wall and of the processor, and the engine's calls."""
        self._counted.calls.clear()
        began, cpu = time.perf_counter(), time.thread_time()
        self.loop.ask(Ask(id="q", text=question))
        while True:
            for event in self.loop.step():
                if isinstance(event, Said):
                    took = time.perf_counter() - began, time.thread_time() - cpu
                    return event.text, *took, Counter(self._counted.calls)


def measured(options: argparse.Namespace) -> Report:
    """The report."""
    bundle = Bundle.load(options.bundle)
    engine = open_engine(bundle, options.threads)
    films = cycle(pictures())
    old, young = Sliding(bundle, engine), Sliding(bundle, engine)
    settle()
    resident = [_resident_mib()]
    for number, pixels in enumerate(islice(films, options.frames)):
        old.slide(number, pixels)
        if number >= options.frames - YOUNG:
            young.slide(number, pixels)
            young.answer(QUESTIONS[number % len(QUESTIONS)])  # so that its caches are made
        if number % ASK_EVERY == 0:
            old.answer(QUESTIONS[number // ASK_EVERY % len(QUESTIONS)])
        if number == options.frames // 10:
            resident = [_resident_mib()]
    resident.append(_resident_mib())
    rounds = [
        _round(old, young, options.frames + number, pixels)
        for number, pixels in enumerate(islice(films, options.rounds))
    ]
    return _told(old, rounds, resident)


def _round(old: Sliding, young: Sliding, number: int, pixels: Pixels) -> tuple[Any, Any]:
    """One frame and one question for both; the one that is first takes turns."""
    pair = [old, young] if number % 2 else [young, old]
    for one in pair:
        one.slide(number, pixels)
    answers = {id(one): one.answer(QUESTIONS[number % len(QUESTIONS)]) for one in pair}
    return answers[id(old)], answers[id(young)]


def _told(old: Sliding, rounds: list[tuple[Any, Any]], resident: list[float]) -> Report:
    ms = [[1e3 * median(pair[who][which] for pair in rounds) for who in (0, 1)] for which in (1, 2)]
    grown = resident[1] - resident[0]
    return {
        "frames": old.frames - len(rounds),
        "rounds": len(rounds),
        "old_ms": round(ms[0][0], 4),
        "young_ms": round(ms[0][1], 4),
        "ratio": round(ms[0][0] / ms[0][1], 4),
        "ratio_cpu": round(ms[1][0] / ms[1][1], 4),
        "same_calls": all(one[3] == other[3] for one, other in rounds),
        "same_answers": all(one[0] == other[0] for one, other in rounds),
        "resident_mib": round(resident[1], 1),
        "grown_mib": round(grown, 2),
        "memory_flat": grown <= max(GROWS_MIB, GROWS * resident[1]),
    }


def _resident_mib() -> float:
    return footprint(os.getpid()).resident_mib


def _stamp(number: int) -> Stamp:
    return Stamp(
        id=number,
        scene=0,
        source="clip",
        index=number,
        stream_ns=round(number * 1e9 / RATE_HZ),
        mono_ns=time.monotonic_ns(),
        wall_ns=time.time_ns(),
    )


def main(arguments: list[str] | None = None) -> int:
    """Measure, print; 1 where it is not flat."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--bundle", type=Path, default=POCKET)
    parser.add_argument("--frames", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="the JSON line alone")
    options = parser.parse_args(arguments)
    return tell(lambda: measured(options), partial(lines, width=14), flat, json_alone=options.json)


def flat(told: Report) -> bool:
    """Whether it answers as fast, by the same calls, in memory that does not grow."""
    as_fast = min(told["ratio"], told["ratio_cpu"]) <= RATIO
    return as_fast and bool(told["same_calls"] and told["memory_flat"])


if __name__ == "__main__":
    sys.exit(main())
