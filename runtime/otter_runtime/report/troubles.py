"""What went wrong while the run went on, and how long: faults, stops, lowered performance.

It knows what is said of a fault when it begins and when it is over; it does not know why.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import msgspec

from otter_robots.messages import RESUME, STOP, Command, Fault, Governor
from otter_runtime.report.reading import Reading

Kind = Literal["fault", "governor", "stop"]


class Trouble(msgspec.Struct, frozen=True, kw_only=True):
    """A stretch of the trial; `end_s` is None where its end is not in the recording."""

    kind: Kind
    code: str
    detail: str
    begin_s: float
    end_s: float | None = None
    recovery: str = ""  # what was said when it was over


def troubles(reading: Reading) -> list[Trouble]:
    """Everything by its beginning."""
    found = [*_faults(reading), *_governed(reading), *_stops(reading)]
    return sorted(found, key=lambda one: one.begin_s)


def outages(found: list[Trouble], seconds: float) -> list[tuple[float, float]]:
    """From when to when there was a fault."""
    spans = sorted(
        (one.begin_s, seconds if one.end_s is None else one.end_s)
        for one in found
        if one.kind == "fault"
    )
    merged: list[tuple[float, float]] = []
    for start, end in spans:
        if merged and start <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(end, merged[-1][1])
        else:
            merged.append((start, end))
    return merged


def _faults(reading: Reading) -> Iterator[Trouble]:
    """A fault lasts until it is cleared; one that is said again meanwhile is the same.

    Heat is left to the governor's own messages, which say more of it.
    """
    open_: dict[str, Trouble] = {}
    governed = bool(reading.of(Governor))
    for one in reading.of(Fault):
        fault = one.what
        if fault.code == "thermal" and governed:
            continue
        if not fault.cleared:
            begun = Trouble(
                kind="fault", code=fault.code, detail=fault.detail, begin_s=round(one.at_s, 3)
            )
            open_.setdefault(fault.code, begun)
        elif fault.code in open_:
            yield _over(open_.pop(fault.code), one.at_s, fault.detail)
    yield from open_.values()


def _governed(reading: Reading) -> Iterator[Trouble]:
    """Each stretch at a step above 0."""
    begun: Trouble | None = None
    for one in reading.of(Governor):
        said = one.what
        if begun is not None:
            yield _over(begun, one.at_s, f"to step {said.step}" if said.step else said.reason)
        begun = None
        if said.step:
            step = f"step {said.step} of {said.steps}"
            begun = Trouble(
                kind="governor", code=step, detail=said.reason, begin_s=round(one.at_s, 3)
            )
    if begun is not None:
        yield begun


def _stops(reading: Reading) -> Iterator[Trouble]:
    begun: Trouble | None = None
    for one in reading.of(Command):
        by = f"by {one.what.stamp.client}" if one.what.stamp.client else ""
        if one.what.name == STOP and begun is None:
            begun = Trouble(kind="stop", code=STOP, detail=by, begin_s=round(one.at_s, 3))
        elif one.what.name == RESUME and begun is not None:
            yield _over(begun, one.at_s, f"resumed {by}".strip())
            begun = None
    if begun is not None:
        yield begun


def _over(begun: Trouble, at_s: float, recovery: str) -> Trouble:
    return msgspec.structs.replace(begun, end_s=round(at_s, 3), recovery=recovery)
