"""Everything that the report of a trial says, as figures and texts: what `--json` prints.

It brings the chapters together; it does not know how they look.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from otter_robots.messages import Status
from otter_runtime.report.counts import Counts, counts
from otter_runtime.report.frames import Frames, frames
from otter_runtime.report.integrity import State, notes, state
from otter_runtime.report.judged import judge
from otter_runtime.report.latency import Stage, stages
from otter_runtime.report.ran import Ran, ran
from otter_runtime.report.reading import Reading, read
from otter_runtime.report.troubles import Trouble, troubles
from otter_runtime.report.worst import Worst, worst
from otter_runtime.trials.check import Report, check
from otter_runtime.trials.trial import Trial
from otter_runtime.wire import Died

Progress = Callable[[str, int, int], None]


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """`begun` is UTC, and `ended` what the run said when it ended, "" where it could not.

    `state` is of the recording: `interrupted` lacks its end, `damaged` something before it; `notes`
    are sentences about that.
    """

    name: str
    begun: str
    seconds: float
    state: State
    ended: str
    notes: list[str]
    ran: Ran
    counts: Counts
    stages: list[Stage]
    frames: Frames
    troubles: list[Trouble]
    restarts: int
    worst: list[Worst]
    integrity: Report


def gathered(path: Path, labels: Path | None, progress: Progress) -> tuple[Trial, Reading, Facts]:
    """Read a trial. Raises TrialError where there is none, UserError for labels that are none."""
    right = judge(labels)
    progress("check", 0, 2)
    integrity = check(path)
    progress("read", 1, 2)
    trial = Trial(path)
    reading = read(trial)
    progress("read", 2, 2)
    found, ended = troubles(reading), _ended(reading)
    facts = Facts(
        name=trial.name,
        begun=_utc(reading.begun_ns),
        seconds=round(reading.seconds, 3),
        state=state(integrity, ended),
        ended=ended,
        notes=list(notes(integrity, reading, ended)),
        ran=ran(trial, reading),
        counts=counts(reading, right),
        stages=stages(reading),
        frames=frames(reading, found),
        troubles=found,
        restarts=len(reading.of(Died)),
        worst=worst(reading, found, right),
        integrity=integrity,
    )
    return trial, reading, facts


def _utc(wall_ns: int) -> str:
    try:
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(wall_ns // 1_000_000_000))
    except (OverflowError, OSError, ValueError):
        return ""


def _ended(reading: Reading) -> str:
    last = reading.of(Status)[-1:]
    return (last[0].what.detail or "ended") if last and last[0].what.state == "ended" else ""
