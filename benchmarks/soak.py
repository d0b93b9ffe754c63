"""Hours of stream through the real runtime, faster than real time: what it takes, how it answers.

    python benchmarks/soak.py --minutes 60 --plot soak.png
    python benchmarks/soak.py --frames 10000 --faults 0 --json      # memory alone

`otter-edge run` in its two processes with the pocket model is pushed the demo's clips again and
again at their own time, a scene each, as fast as it takes them. It has a standing instruction, and
is asked, shown exemplars and made to forget them; every now and then something goes wrong: its
brain is killed or stopped, pictures are black or cut off, none come. After each of these it has to
answer again. Prints how memory, descriptors and latency went, then one JSON line; ends with 1 where
either process grew by more than 8 MiB and 1 % over the last nine tenths of the frames that it saw.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from dataclasses import asdict
from functools import partial
from itertools import cycle
from pathlib import Path

from outcome import Report, lines, tell
from processes import Footprint
from soak_day import HARMS, RATE_HZ, Sample, Soak, stream

from otter_robots import endpoints
from otter_robots.client import Client
from otter_runtime.percentile import spread
from otter_runtime.stage import running

SAMPLES = 200
GROWS_MIB, GROWS = 8.0, 0.01
START_S = 60.0


def soaked(options: argparse.Namespace, folder: Path) -> Soak:
    """A run from its start to the minutes or frames that were asked for."""
    config = folder / "run.yaml"
    # The clips are a simulator's: it may stand still, and has no noise.
    config.write_text("stuck_ms: 60000\nwindow: {policy: last}\n")
    words = ["--source", "bus", "--config", str(config), "--interval", "2"]
    words += ["--instruction", "Go to the red box. What should I do next?"]
    if options.bundle:
        words += ["--bundle", str(options.bundle)]
    places = (endpoints.stream_endpoint(folder), endpoints.requests_endpoint(folder), "soak")
    with running(words, folder) as run, Client(*places) as bus:
        soak = Soak(run, bus, stream())
        _await_start(soak)
        _go_on(soak, options)
        soak.sample()
    return soak


def _await_start(soak: Soak) -> None:
    soak.await_answer("answer", START_S)
    soak.begun_s = time.monotonic()
    soak.replies.clear()
    soak.sample()


def _go_on(soak: Soak, options: argparse.Namespace) -> None:
    harms = cycle(HARMS)
    every_s = options.minutes * 60 / SAMPLES if options.minutes else 0.5
    next_harm = options.faults
    for number in range(1, sys.maxsize):
        soak.round(number)
        if options.faults and number >= next_harm:
            next_harm = number + options.faults
            soak.harm(next(harms))
        if soak.now_s - soak.samples[-1].at_s < every_s:
            continue
        one = soak.sample()
        _progress(one, options)
        if options.minutes and soak.now_s >= 60 * options.minutes:
            return
        if options.frames and one.frames >= options.frames:
            return


def _progress(one: Sample, options: argparse.Namespace) -> None:
    if not options.json and sys.stderr.isatty():
        print(
            f"\r{one.at_s / 60:.1f} min, {one.frames} frames, "
            f"{one.front.resident_mib:.0f} + {one.brain.resident_mib:.0f} MiB",
            end="",
            file=sys.stderr,
        )


def report(soak: Soak) -> Report:
    """What came of it, as one object."""
    first, last = soak.samples[0], soak.samples[-1]
    fronts = [one.front for one in soak.samples]
    brains = longest_life([one.brain for one in soak.samples])
    grown = {"front": grown_mib(fronts), "brain": grown_mib(brains)}
    return {
        "minutes": round(last.at_s / 60, 2),
        "frames": last.frames,
        "stream_minutes": round(last.frames / RATE_HZ / 60, 1),
        "times_real_time": round(last.frames / RATE_HZ / max(last.at_s, 1e-9), 1),
        "questions": sum(soak.replies.values()),
        "replies": dict(soak.replies),
        "faults": len(soak.faults),
        "back_after_s": spread([back for _, _, back in soak.faults]),
        "answer_ms": spread(soak.latencies_ms),
        "first_tenth_ms": spread(_tenth(soak.latencies_ms, 0)),
        "last_tenth_ms": spread(_tenth(soak.latencies_ms, 9)),
        "resident_mib": {
            "front": round(last.front.resident_mib, 1),
            "brain": round(last.brain.resident_mib, 1),
        },
        "grown_mib": {name: round(mib, 2) for name, mib in grown.items()},
        "flat": {
            "front": flat(grown["front"], fronts[-1].resident_mib),
            "brain": flat(grown["brain"], brains[-1].resident_mib),
        },
        "descriptors_first": {"front": first.front.descriptors, "brain": first.brain.descriptors},
        "descriptors_last": {"front": last.front.descriptors, "brain": last.brain.descriptors},
    }


def longest_life(brains: list[Footprint]) -> list[Footprint]:
    """The samples of the brain that has most of them."""
    ((pid, _),) = Counter(one.pid for one in brains if one.pid).most_common(1)
    return [one for one in brains if one.pid == pid]


def grown_mib(samples: list[Footprint]) -> float:
    """What resident memory grew by over the last nine tenths of the samples."""
    late = samples[len(samples) // 10 :]
    return late[-1].resident_mib - late[0].resident_mib


def flat(grown: float, resident_mib: float) -> bool:
    """Whether that is little: up to 8 MiB, or 1 % of it."""
    return grown <= max(GROWS_MIB, GROWS * resident_mib)


def _tenth(figures: list[float], which: int) -> list[float]:
    size = max(1, len(figures) // 10)
    return figures[which * size : (which + 1) * size]


def main(arguments: list[str] | None = None) -> int:
    """Soak, print, draw; 1 where memory grew."""
    options = _parser().parse_args(arguments)
    if not options.minutes and not options.frames:
        options.minutes = 5.0
    return tell(
        lambda: measured(options),
        partial(lines, width=18),
        lambda told: all(told["flat"].values()),
        json_alone=options.json,
    )


def measured(options: argparse.Namespace) -> Report:
    """The report; plot and samples are in files."""
    with tempfile.TemporaryDirectory(prefix="otter-soak-") as name:
        soak = soaked(options, Path(name))
    if options.plot:
        from soak_plot import save

        save(options.plot, soak)
    if options.samples:
        rows = [json.dumps(asdict(one)) for one in soak.samples]
        options.samples.write_text("\n".join(rows) + "\n")
    return report(soak)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    add = parser.add_argument
    add("--minutes", type=float, help="how long (default 5, unless --frames says otherwise)")
    add("--frames", type=int, help="until the window has seen so many")
    add("--faults", type=int, default=1000, metavar="N", help="one every N frames; 0: none")
    add("--bundle", type=Path, help="default: the bundled pocket model")
    add("--plot", type=Path, metavar="FILE", help="draw it, as .png or .svg")
    add("--samples", type=Path, metavar="FILE", help="every sample, as JSON lines")
    add("--json", action="store_true", help="the JSON line alone")
    return parser


if __name__ == "__main__":
    sys.exit(main())
