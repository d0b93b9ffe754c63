"""What is said while there is nothing to say: false alarms per quiet hour, faster than real time.

    python benchmarks/false_alarms.py --hours 1
    python benchmarks/false_alarms.py --hours 0.05 --json

Somebody walks through fresh MiniWorld rooms with the standing instruction "Can you see the red
box?" (or whatever the room is about; in every other room it is not there at all), asked once a
second, and with `standing.quiet: ["No."]`: what is not there is not said. `otter-edge run --fast`
plays these rooms as video files and its answers are held against the simulator's truth. A frame is
quiet where the truth is a clear no; an answer about it is a false alarm. Prints a table, then one
JSON line with `false_alarms_per_quiet_hour`, and `said_when_due`, the share of clear yeses that was
said, since silence alone would have no false alarms.
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from outcome import Report, lines, tell

from otter_robots.messages import Abstain, Answer
from otter_runtime.stage import heard
from otter_tuning.pocket import questions as q
from otter_tuning.pocket.kinds import KINDS, evaluation_seeds
from otter_tuning.pocket.world import RATE_HZ, View, World

OFFSET = 700_000  # beyond what the other benchmarks render of a stretch of evaluation seeds
FRAMES, SIDE, ASK_EVERY = 120, 128, 4
CONFIG = 'standing: {quiet: ["No."]}\ninterval_s: 1\noldest_ms: 600000\nttl_ms: 600000\n'


@dataclass(frozen=True)
class Room:
    """A walk as a file, what is asked about it, and for each frame: 1 yes, 0 no, None unclear."""

    path: Path
    instruction: str
    truth: list[int | None]


def rooms(folder: Path, count: int, seed: int) -> Iterator[Room]:
    """Rooms nobody has seen, in turns with the thing that is asked for and without it."""
    world = World(side=SIDE)
    for number, one in enumerate(evaluation_seeds(seed, count, OFFSET)):
        world.reset(seed=one)
        there = [kind for kind, _ in world.things]
        absent = [kind for kind in range(len(KINDS)) if kind not in there]
        kind = there[0] if number % 2 else absent[one % len(absent)]
        views = list(world.walk(FRAMES))
        path = folder / f"room-{number}.avi"
        _write(path, views)
        yield Room(path, q.SEE_QUESTION.format(kind=KINDS[kind]), [_seen(v, kind) for v in views])
    world.close()


def _write(path: Path, views: list[View]) -> None:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), RATE_HZ, (SIDE, SIDE))
    for view in views:
        writer.write(np.ascontiguousarray(view.image[..., ::-1]))
    writer.release()


def _seen(view: View, kind: int) -> int | None:
    pixels = int((view.mask == kind).sum())
    return 1 if pixels >= q.SEEN_PX else None if pixels else 0


def measured(options: argparse.Namespace) -> Report:
    """The report."""
    count = max(2, math.ceil(options.hours * 3600 * RATE_HZ / FRAMES))
    with tempfile.TemporaryDirectory(prefix="otter-") as name:
        folder = Path(name)
        shown = list(rooms(folder, count, options.seed))
        config = folder / "run.yaml"
        config.write_text(CONFIG)
        words = ["--fast", "--config", str(config), "--source", *(str(one.path) for one in shown)]
        for one in shown:
            words += ["--instruction", one.instruction]
        if options.bundle:
            words += ["--bundle", str(options.bundle)]
        said = [message for _, message in heard(words) if isinstance(message, (Answer, Abstain))]
    return judged(shown, said)


def judged(shown: list[Room], said: list[Answer | Abstain]) -> Report:
    """What was said, held against the truth of the frames that were asked about."""
    answers = {(one.source, one.source_index) for one in said if isinstance(one, Answer)}
    asked = [
        (one.truth[index], (one.path.name, index) in answers)
        for one in shown
        for index in range(0, len(one.truth), ASK_EVERY)
    ]
    quiet = [spoke for truth, spoke in asked if truth == 0]
    due = [spoke for truth, spoke in asked if truth == 1]
    hours = len(quiet) * ASK_EVERY / RATE_HZ / 3600
    return {
        "rooms": len(shown),
        "asked": len(asked),
        "abstained": sum(isinstance(one, Abstain) for one in said),
        "quiet_hours": round(hours, 4),
        "false_alarms": sum(quiet),
        "false_alarms_per_quiet_hour": round(sum(quiet) / hours, 2) if quiet else None,
        "said_when_due": round(sum(due) / len(due), 4) if due else None,
        "due": len(due),
    }


def main(arguments: list[str] | None = None) -> int:
    """Measure, print; the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    add = parser.add_argument
    add("--hours", type=float, default=0.5, help="of walking, quiet or not (default 0.5)")
    add("--seed", type=int, default=1, help="which stretch of the evaluation's rooms")
    add("--bundle", type=Path, help="default: the bundled pocket model")
    add("--json", action="store_true", help="the JSON line alone")
    options = parser.parse_args(arguments)
    return tell(lambda: measured(options), partial(lines, width=30), json_alone=options.json)


if __name__ == "__main__":
    sys.exit(main())
