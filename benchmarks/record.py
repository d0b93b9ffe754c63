"""What recording costs the loop: what it does in a second with it and without, in one run.

    python benchmarks/record.py [--pairs 40] [--camera-hz 4] [--json]
    python benchmarks/record.py --bundle PATH --threads 2 --waiting 2 --block 10 --pairs 16
    python benchmarks/record.py --lock-step

A real run (front here, brain in its own process) watches the packaged clips at a camera's pace, and
a robot in a third process keeps questions waiting, so that the loop never rests: pieces of answers
a second are what it can do. Recording is switched on and off block by block, in the order
on-off-off-on, so that a machine that gets slower or busier meanwhile does it to both. The first
tenth of a block is not counted: what was queued before is still being written.

In lock step nobody asks; the clips are played as fast as their standing instruction is answered,
and frames a second are counted. The next frame waits there until the last answer is published, and
that until the disk has it: no trial of a live camera is like this, and none can be worse.

Two ratios come of it. That of the rates is what a user has; on a machine with other work it says
what the others left. That of the processor time that the loop takes for each (the brain, and the
front's own thread, which hands things over) holds on a busy machine as well. What the
recording's threads compute beside it is told apart: it costs the loop nothing where a core is free
for it. Prints a table, then one JSON line; ends with 1 where more than 2 % of the rate was lost.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from outcome import Report, tell
from processes import brain_of

from otter_robots import endpoints
from otter_robots.envelope import Envelope
from otter_robots.messages import AnswerDelta, Message
from otter_runtime.assembly import POCKET, assembled
from otter_runtime.bundle import Bundle
from otter_runtime.config import BrainConfig, BusConfig, RecordConfig, RunConfig
from otter_runtime.errors import OtterError
from otter_runtime.front import Front
from otter_runtime.trials.check import check
from otter_runtime.trials.recorder import Recorder

Part = Literal["brain", "front", "beside", "loop"]
CLIPS = sorted((POCKET.parent / "clip").glob("*.avi"))
CLIP_HZ = 4.0
REPLAYS = 100
QUESTION = "Go to the red box. What should I do next?"
START_S = 120.0
RESAMPLES = 2000
PARTS: tuple[Part, ...] = ("brain", "front", "beside")
LEAST_RATIO = 0.98


@dataclass(frozen=True)
class Block:
    """Some seconds of the loop, recorded or not."""

    recorded: bool
    frames: int
    answers: int
    done: int  # frames in lock step, otherwise pieces of answers
    seconds: float
    brain_s: float  # processor time of the brain,
    front_s: float  # of the front's own thread,
    beside_s: float  # and of its others

    @property
    def rate_hz(self) -> float:
        """What was done in a second."""
        return self.done / self.seconds

    def ms(self, part: Part) -> float:
        """Processor time for each of what was done."""
        parts = {"brain": self.brain_s, "front": self.front_s, "beside": self.beside_s}
        parts["loop"] = self.brain_s + self.front_s
        return 1000 * parts[part] / self.done


class Count:
    """How many pieces of answers were published: hears all that is."""

    def __init__(self) -> None:
        self.pieces = 0

    def __call__(self, envelope: Envelope, message: Message) -> None:
        """Count it if it is one."""
        self.pieces += isinstance(message, AnswerDelta)


class Run:
    """A run whose recording can be switched on and off, measured a block at a time."""

    def __init__(self, front: Front, count: Count, options: argparse.Namespace) -> None:
        recorder = front.bus.scribe
        assert isinstance(recorder, Recorder)
        self.front, self.recorder = front, recorder
        self._count, self._lock_step = count, options.lock_step
        self._block_s, self._least = options.block, options.least

    def start(self) -> None:
        """Turn until it answers."""
        until_s = time.monotonic() + START_S
        while self._done < self._least:
            if time.monotonic() > until_s:
                raise OtterError(f"the run gave no answers within {START_S:g} s")
            self.front.turn()

    def block(self, on: bool) -> Block:
        """Some seconds, and as much done as is asked for, after a tenth that does not count."""
        self.recorder.paused = not on
        self._turn(self._block_s / 10)
        vitals, done = self.front.vitals, self._done
        frames, answers, begun = vitals.frames, vitals.answers, _processor_s()
        seconds = self._turn(self._block_s, done + self._least)
        spent = [now - then for now, then in zip(_processor_s(), begun, strict=True)]
        frames, answers = vitals.frames - frames, vitals.answers - answers
        return Block(on, frames, answers, self._done - done, seconds, *spent)

    @property
    def _done(self) -> int:
        return self.front.vitals.frames if self._lock_step else self._count.pieces

    def _turn(self, seconds: float, done: int = 0) -> float:
        """Turn so long, and until so much is done in all; how long it was."""
        begun = time.perf_counter()
        while time.perf_counter() - begun < seconds or self._done < done:
            self.front.turn()
        return time.perf_counter() - begun


def main(argv: list[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    add = parser.add_argument
    add("--bundle", type=Path, default=POCKET, help="default: the bundled pocket model")
    add("--threads", type=int, default=1, metavar="N", help="of the brain")
    add("--pairs", type=int, default=40, metavar="N", help="blocks of each kind")
    add("--block", type=float, default=3.0, metavar="S", help="seconds of a block")
    add("--least", type=int, default=20, metavar="N", help="done in a block, at least")
    add("--camera-hz", type=float, default=CLIP_HZ, metavar="HZ", help="default: the demo's, 4")
    add("--waiting", type=int, default=8, metavar="N", help="questions that wait at any time")
    add("--lock-step", action="store_true", help="as fast as it is answered, a frame at a time")
    add("--picture", choices=("png", "jpeg"), default="png")
    add("--json", action="store_true", help="the JSON line alone")
    options = parser.parse_args(argv)
    return tell(
        lambda: measured(options), table, lambda row: bool(row["held"]), json_alone=options.json
    )


def measured(options: argparse.Namespace) -> Report:
    """Rates, their ratio with a bootstrap interval over pairs, what was recorded."""
    with tempfile.TemporaryDirectory(prefix="otter-") as name:
        folder = Path(name)
        config, count = _config(options, folder), Count()
        with assembled(config, count) as front, _asked(options, folder):
            run = Run(front, count, options)
            run.start()
            blocks = [run.block(on) for on in _order(options.pairs)]
        report = check(run.recorder.folder)
    assert not report.missing, report  # gaps there are: nothing is taken in a pause
    return {
        "benchmark": "record",
        "bundle": Bundle.load(options.bundle).manifest.name,
        "threads": options.threads,
        "picture": options.picture,
        "lock_step": options.lock_step,
        "camera_hz": None if options.lock_step else options.camera_hz,
        **_compared(blocks),
        "load": round(os.getloadavg()[0], 1),
        "pairs": options.pairs,
        "frames": sum(block.frames for block in blocks),
        "answers": sum(block.answers for block in blocks),
        "messages": run.recorder.recorded,
        "dropped_frames": run.recorder.dropped,
        "mb": round(sum(file.bytes for file in report.files) / 1e6, 1),
    }


def table(row: Report) -> str:
    """The report for people."""
    unit = "frames/s" if row["lock_step"] else "pieces/s"
    lines = [
        f"recorded      {row['on_hz']:8.2f} {unit}",
        f"not recorded  {row['off_hz']:8.2f} {unit}",
    ]
    for name, what in (("ratio", "of the rates"), ("cpu_ratio", "of the loop's processor time")):
        low, high = row[f"{name}_low"], row[f"{name}_high"]
        lines.append(f"ratio         {row[name]:8.4f}  (95 %: {low:.4f} to {high:.4f}) {what}")
    for name, what in (("brain", "the brain"), ("front", "the front"), ("beside", "beside them")):
        on, off = row[f"{name}_on_ms"], row[f"{name}_off_ms"]
        lines.append(f"each takes    {on:8.3f} ms recorded, {off:.3f} not: {what}")
    return "\n".join(lines)


def _config(options: argparse.Namespace, folder: Path) -> RunConfig:
    return RunConfig(
        source=[str(clip) for clip in CLIPS] * REPLAYS,
        instruction=["What should I do next?"],
        fast=options.lock_step,
        speed=options.camera_hz / CLIP_HZ,
        # The clips are a simulator's, which has no noise: it may stand still.
        stuck_ms=60_000,
        bus=BusConfig(folder=str(folder)),
        bundle=str(options.bundle),
        brain=BrainConfig(threads=options.threads),
        record=RecordConfig(folder=str(folder / "trials"), picture=options.picture, reserve_mb=0),
    )


@contextmanager
def _asked(options: argparse.Namespace, folder: Path) -> Iterator[None]:
    """While a robot asks, unless in lock step."""
    if options.lock_step:
        yield
        return
    ends = endpoints.stream_endpoint(folder), endpoints.requests_endpoint(folder)
    script = Path(__file__).with_name("record_asker.py")
    words = [sys.executable, str(script), *ends, str(options.waiting), QUESTION]
    with subprocess.Popen(words) as asker:
        try:
            yield
        finally:
            asker.kill()


def _order(pairs: int) -> list[bool]:
    """On-off, off-on, on-off ..."""
    return [on for pair in range(pairs) for on in ((True, False) if pair % 2 else (False, True))]


def _processor_s() -> tuple[float, float, float]:
    """Until now: of the brain, of this thread, which turns the front, and of the others here."""
    tasks = Path(f"/proc/{brain_of(os.getpid())}/task").glob("*/schedstat")
    brain_s = sum(int(task.read_text().split()[0]) for task in tasks) / 1e9
    front_s = time.thread_time()
    return brain_s, front_s, time.process_time() - front_s


def _compared(blocks: list[Block]) -> Report:
    on = [block for block in blocks if block.recorded]
    off = [block for block in blocks if not block.recorded]
    pairs = list(zip(on, off, strict=True))
    ratio = _ratio("ratio", [a.rate_hz / b.rate_hz for a, b in pairs])
    return {
        "on_hz": round(statistics.median(block.rate_hz for block in on), 3),
        "off_hz": round(statistics.median(block.rate_hz for block in off), 3),
        **ratio,
        "asked": LEAST_RATIO,
        "held": ratio["ratio"] >= LEAST_RATIO,
        **_ratio("cpu_ratio", [b.ms("loop") / a.ms("loop") for a, b in pairs]),
        **_times("on", on),
        **_times("off", off),
    }


def _ratio(name: str, ratios: list[float]) -> dict[str, float]:
    """Their median, and where it lies with 95 %, by resampling the pairs."""
    dice = random.Random(0)
    medians = sorted(
        statistics.median(dice.choices(ratios, k=len(ratios))) for _ in range(RESAMPLES)
    )
    return {
        name: round(statistics.median(ratios), 4),
        f"{name}_low": round(medians[RESAMPLES // 40], 4),
        f"{name}_high": round(medians[-RESAMPLES // 40], 4),
    }


def _times(name: str, blocks: list[Block]) -> dict[str, float]:
    return {
        f"{part}_{name}_ms": round(statistics.median(block.ms(part) for block in blocks), 3)
        for part in PARTS
    }


if __name__ == "__main__":
    sys.exit(main())
