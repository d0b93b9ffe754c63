"""What recording costs the loop: frames a second with it and without, in turns, in one run.

    python benchmarks/record.py [--pairs 20] [--block 1.5] [--frames 40] [--picture png]

A real run (front here, brain in its own process) plays the packaged clips as fast as they are
answered, the worst case: in real time there is nothing but waiting between two frames. Recording
is switched on and off block by block, in the order on-off-off-on, so that a machine that gets
slower or busier meanwhile does it to both. The first tenth of a block is not counted: what was
queued before is still being written.

Two ratios come of it. That of the rates is what a user has; on a machine with other work it says
what the others left. That of the processor time that the loop takes for a frame (the brain, and the
front's own thread, which hands things over) holds on a busy machine as well. What the recording's
threads compute beside it is told apart: it costs the loop nothing where a core is free for it.
Prints a table, then one JSON line.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import psutil

from otter_runtime.assembly import POCKET, assembled
from otter_runtime.config import BrainConfig, BusConfig, RecordConfig, RunConfig
from otter_runtime.front import Front
from otter_runtime.trials.check import check
from otter_runtime.trials.recorder import Recorder

Part = Literal["brain", "front", "beside", "loop"]
CLIPS = sorted((POCKET.parent / "clip").glob("*.avi"))
START_S = 120.0
RESAMPLES = 2000
PARTS: tuple[Part, ...] = ("brain", "front", "beside")


@dataclass(frozen=True)
class Block:
    """Some seconds of the loop, recorded or not."""

    recorded: bool
    frames: int
    answers: int
    seconds: float
    brain_s: float  # processor time of the brain,
    front_s: float  # of the front's own thread,
    beside_s: float  # and of its others

    @property
    def rate_hz(self) -> float:
        """Frames encoded, and what was due answered, a second."""
        return self.frames / self.seconds

    def ms(self, part: Part) -> float:
        """Processor time for each frame."""
        parts = {"brain": self.brain_s, "front": self.front_s, "beside": self.beside_s}
        parts["loop"] = self.brain_s + self.front_s
        return 1000 * parts[part] / self.frames


def main(argv: list[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=20, metavar="N", help="blocks of each kind")
    parser.add_argument("--block", type=float, default=1.5, metavar="S", help="seconds of a block")
    parser.add_argument("--frames", type=int, default=40, metavar="N", help="of a block at least")
    parser.add_argument("--picture", choices=("png", "jpeg"), default="png")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="otter-") as name:
        row = measured(Path(name), args.pairs, args.block, args.frames, args.picture)
    print(f"recorded      {row['on_hz']:8.2f} frames/s")
    print(f"not recorded  {row['off_hz']:8.2f} frames/s")
    for name, what in (("ratio", "of the rates"), ("cpu_ratio", "of the loop's processor time")):
        low, high = row[f"{name}_low"], row[f"{name}_high"]
        print(f"ratio         {row[name]:8.4f}  (95 %: {low:.4f} to {high:.4f}) {what}")
    for name, what in (("brain", "the brain"), ("front", "the front"), ("beside", "beside them")):
        on, off = row[f"{name}_on_ms"], row[f"{name}_off_ms"]
        print(f"a frame takes {on:8.3f} ms recorded, {off:.3f} not: {what}")
    print(json.dumps(row))
    return 0


def measured(
    folder: Path, pairs: int, block_s: float, frames: int, kind: Literal["png", "jpeg"]
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
        blocks = [_block(front, recorder, on, block_s, frames) for on in _order(pairs)]
    report = check(recorder.folder)
    assert not report.missing, report  # gaps there are: nothing is taken in a pause
    on = [block for block in blocks if block.recorded]
    off = [block for block in blocks if not block.recorded]
    ratios = [a.rate_hz / b.rate_hz for a, b in zip(on, off, strict=True)]
    low, high = _interval(ratios)
    cpu_ratios = [b.ms("loop") / a.ms("loop") for a, b in zip(on, off, strict=True)]
    cpu_low, cpu_high = _interval(cpu_ratios)
    return {
        "benchmark": "record",
        "picture": kind,
        "on_hz": round(statistics.median(block.rate_hz for block in on), 3),
        "off_hz": round(statistics.median(block.rate_hz for block in off), 3),
        "ratio": round(statistics.median(ratios), 4),
        "ratio_low": round(low, 4),
        "ratio_high": round(high, 4),
        "cpu_ratio": round(statistics.median(cpu_ratios), 4),
        "cpu_ratio_low": round(cpu_low, 4),
        "cpu_ratio_high": round(cpu_high, 4),
        **_times("on", on),
        **_times("off", off),
        "load": round(os.getloadavg()[0], 1),
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


def _times(name: str, blocks: list[Block]) -> dict[str, float]:
    return {
        f"{part}_{name}_ms": round(statistics.median(block.ms(part) for block in blocks), 3)
        for part in PARTS
    }


def _block(front: Front, recorder: Recorder, on: bool, block_s: float, frames: int) -> Block:
    recorder.paused = not on
    _turn(front, block_s / 10)
    before, answers = front.vitals.frames, front.vitals.answers
    begun = _processor_s()
    seconds = _turn(front, block_s, before + frames)
    spent = [now - then for now, then in zip(_processor_s(), begun, strict=True)]
    frames, answers = front.vitals.frames - before, front.vitals.answers - answers
    return Block(on, frames, answers, seconds, *spent)


def _processor_s() -> tuple[float, float, float]:
    """Until now: of the brain, of this thread, which turns the front, and of the others here."""
    (brain,) = psutil.Process().children()
    tasks = Path(f"/proc/{brain.pid}/task").glob("*/schedstat")
    brain_s = sum(int(task.read_text().split()[0]) for task in tasks) / 1e9
    front_s = time.thread_time()
    return brain_s, front_s, time.process_time() - front_s


def _turn(front: Front, seconds: float, frames: int = 0) -> float:
    """Turn so long, and until there were so many frames in all; how long it was."""
    begun = time.perf_counter()
    while time.perf_counter() - begun < seconds or front.vitals.frames < frames:
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
