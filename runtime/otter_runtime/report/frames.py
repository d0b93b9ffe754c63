"""Which frames came and which did not: dropped, damaged, not recorded, and gaps between them.

It knows heartbeats and shown frames; it does not know pictures.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from itertools import pairwise

import msgspec

from otter_robots.messages import Governor, Health
from otter_runtime.report.reading import Reading
from otter_runtime.report.troubles import Trouble
from otter_runtime.trials.channels import Show

# A gap is so many times what lies between two frames, usually or by the governor's limit, and no
# less than a second.
GAP_TIMES, GAP_S = 3.0, 1.0


class Gap(msgspec.Struct, frozen=True, kw_only=True):
    """From one frame to the next, or to the end; `why` names faults of that time."""

    begin_s: float
    end_s: float
    why: str = ""


class Frames(msgspec.Struct, frozen=True, kw_only=True):
    """Counts over the trial; None is not known. `every_s` usually lies between two frames."""

    shown: int | None = None
    encoded: int | None = None
    dropped: int | None = None
    damaged: int | None = None
    unrecorded: int | None = None
    every_s: float | None = None
    gaps: list[Gap] = []


def frames(reading: Reading, troubles: Sequence[Trouble]) -> Frames:
    """What is known of them."""
    at_s = [one.at_s for one in reading.of(Show)]
    beats = reading.of(Health)
    last = beats[-1].what if beats else None
    every_s = _usual(at_s)
    return Frames(
        shown=len(at_s) or None,
        encoded=last.frames if last else None,
        dropped=last.frames_dropped if last else None,
        damaged=last.frames_damaged if last else None,
        unrecorded=last.unrecorded if last and last.recorded else None,
        every_s=every_s,
        gaps=_gaps(reading, at_s, every_s, troubles) if every_s else [],
    )


def rates(reading: Reading) -> list[tuple[float, float, float, float]]:
    """Between heartbeats: from, to, frames encoded and dropped per second."""
    found = []
    beats = reading.of(Health)
    for before, now in pairwise(beats):
        seconds = now.at_s - before.at_s
        encoded = now.what.frames - before.what.frames
        dropped = now.what.frames_dropped - before.what.frames_dropped
        if seconds > 0 and encoded >= 0 and dropped >= 0:  # less is another run's
            found.append((before.at_s, now.at_s, encoded / seconds, dropped / seconds))
    return found


def _usual(at_s: Sequence[float]) -> float | None:
    between = [b - a for a, b in pairwise(at_s)]
    return round(statistics.median(between), 3) if between else None


def _gaps(
    reading: Reading, at_s: Sequence[float], every_s: float, troubles: Sequence[Trouble]
) -> list[Gap]:
    limits = [(one.at_s, one.what.rate_hz) for one in reading.of(Governor)]
    return [
        Gap(begin_s=round(a, 3), end_s=round(b, 3), why=_why(a, b, troubles))
        for a, b in pairwise(at_s)
        if b - a > max(GAP_S, GAP_TIMES * max(every_s, _wanted_s(limits, b)))
    ]


def _wanted_s(limits: Sequence[tuple[float, float | None]], now_s: float) -> float:
    """How far apart the governor lets frames be; 0 where it lets them come as they do."""
    before = [rate_hz for at_s, rate_hz in limits if at_s <= now_s]
    return 1 / before[-1] if before and before[-1] else 0.0


def _why(begin_s: float, end_s: float, troubles: Sequence[Trouble]) -> str:
    codes = {
        one.code
        for one in troubles
        if one.kind != "governor"
        and one.begin_s < end_s
        and (one.end_s is None or one.end_s > begin_s)
    }
    return ", ".join(sorted(codes))
