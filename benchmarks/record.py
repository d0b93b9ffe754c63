"""What recording costs the loop: frames a second with it and without, in turns, in one run.

    python benchmarks/record.py [--pairs 20] [--block 1.5] [--picture png]

A real run (front here, brain in its own process) plays the packaged clips as fast as they are
answered, the worst case: in real time there is nothing but waiting between two frames. Recording
is switched on and off block by block, in the order on-off-off-on, so that a machine that gets
slower or busier meanwhile does it to both. The first tenth of a block is not counted: what was
queued before is still being written. Prints a table, then one JSON line.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from otter_runtime.assembly import POCKET, assembled
from otter_runtime.config import BrainConfig, BusConfig, RecordConfig, RunConfig
from otter_runtime.front import Front
from otter_runtime.trials.check import check
from otter_runtime.trials.recorder import Recorder

CLIPS = sorted((POCKET.parent / "clip").glob("*.avi"))
START_S = 120.0
RESAMPLES = 2000


@dataclass(frozen=True)
class Block:
    """Some seconds of the loop, recorded or not."""

    recorded: bool
    frames: int
    answers: int
    seconds: float

    @property
    def rate_hz(self) -> float:
        """Frames encoded, and what was due answered, a second."""
        return self.frames / self.seconds


def main(argv: list[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=20, metavar="N", help="blocks of each kind")
    parser.add_argument("--block", type=float, default=1.5, metavar="S", help="seconds of a block")
    parser.add_argument("--picture", choices=("png", "jpeg"), default="png")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="otter-") as name:
        row = measured(Path(name), args.pairs, args.block, args.picture)
    print(f"recorded      {row['on_hz']:8.2f} frames/s")
    print(f"not recorded  {row['off_hz']:8.2f} frames/s")
    print(f"ratio         {row['ratio']:8.4f}  (95 %: {row['low']:.4f} to {row['high']:.4f})")
    print(json.dumps(row))
    return 0


def measured(
    folder: Path, pairs: int, block_s: float, kind: Literal["png", "jpeg"]
) -> dict[str, float | int | str]:
    """The JSON line: rates, their ratio with a bootstrap interval over pairs, what was recorded."""
    config = RunConfig(
        source=[str(clip) for clip in CLIPS] * 1000,
        instruction=["What should I do next?"],
        fast=True,
        bus=BusConfig(folder=str(folder)),
        brain=BrainConfig(threads=1),
        record=RecordConfig(folder=str(folder / "trials"), picture=kind, reserve_mb=0),
    )
    with assembled(config) as front:
        recorder = front.bus.scribe
        assert isinstance(recorder, Recorder)
        _start(front)
        blocks = [_block(front, recorder, on, block_s) for on in _order(pairs)]
    report = check(recorder.folder)
    assert not report.missing, report  # gaps there are: nothing is taken in a pause
    on = [block for block in blocks if block.recorded]
    off = [block for block in blocks if not block.recorded]
    ratios = [a.rate_hz / b.rate_hz for a, b in zip(on, off, strict=True)]
    low, high = _interval(ratios)
    return {
        "benchmark": "record",
        "picture": kind,
        "on_hz": round(statistics.median(block.rate_hz for block in on), 3),
        "off_hz": round(statistics.median(block.rate_hz for block in off), 3),
        "ratio": round(statistics.median(ratios), 4),
        "low": round(low, 4),
        "high": round(high, 4),
        "pairs": pairs,
        "frames": sum(block.frames for block in blocks),
        "answers": sum(block.answers for block in blocks),
        "messages": recorder.recorded,
        "dropped_frames": recorder.dropped,
        "mb": round(sum(file.bytes for file in report.files) / 1e6, 1),
    }


def _order(pairs: int) -> list[bool]:
    """On-off, off-on, on-off ..."""
    return [on for pair in range(pairs) for on in ((True, False) if pair % 2 else (False, True))]


def _start(front: Front) -> None:
    until_s = time.monotonic() + START_S
    while front.vitals.answers < 5:
        if time.monotonic() > until_s:
            sys.exit(f"the run gave no answers within {START_S:g} s")
        front.turn()


def _block(front: Front, recorder: Recorder, on: bool, block_s: float) -> Block:
    recorder.paused = not on
    _turn(front, block_s / 10)
    frames, answers = front.vitals.frames, front.vitals.answers
    seconds = _turn(front, block_s)
    return Block(on, front.vitals.frames - frames, front.vitals.answers - answers, seconds)


def _turn(front: Front, seconds: float) -> float:
    """Turn so long, to the end of a turn; how long it was."""
    begun = time.perf_counter()
    while time.perf_counter() - begun < seconds:
        front.turn()
    return time.perf_counter() - begun


def _interval(ratios: list[float]) -> tuple[float, float]:
    """Where the median of such pairs lies with 95 %, by resampling the pairs."""
    dice = random.Random(0)
    medians = sorted(
        statistics.median(dice.choices(ratios, k=len(ratios))) for _ in range(RESAMPLES)
    )
    return medians[RESAMPLES // 40], medians[-RESAMPLES // 40]


if __name__ == "__main__":
    sys.exit(main())
