"""The two processes of a run, seen from outside: which one is the brain, what each takes.

It knows /proc and nothing of what they do.
"""

from __future__ import annotations

import os
import resource
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
MIB = 1 << 20


@dataclass(frozen=True)
class Footprint:
    """What a process takes: resident memory in MiB, and how many descriptors it has open."""

    pid: int
    resident_mib: float
    descriptors: int


def footprint(pid: int) -> Footprint:
    """What a process takes now; nothing where it is gone."""
    try:
        pages = int((PROC / str(pid) / "statm").read_text().split()[1])
        descriptors = len(os.listdir(PROC / str(pid) / "fd"))
    except (OSError, IndexError):
        return Footprint(pid, 0.0, 0)
    return Footprint(pid, pages * resource.getpagesize() / MIB, descriptors)


def brain_of(front: int) -> int | None:
    """The process of a front's brain; None while there is none."""
    try:
        children = (PROC / str(front) / "task" / str(front) / "children").read_text().split()
    except OSError:
        return None
    for child in children:
        try:
            words = (PROC / child / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if b"otter_runtime.brain" in words:
            return int(child)
    return None
