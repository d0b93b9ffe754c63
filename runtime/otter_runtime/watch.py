"""Whether a process that promised a sign of life is hung, or merely slow to get the processor.

It is hung when its promise is over, unless it was starved of the processor. Where its work is done
on the processor it is hung much sooner than that if it does none: every thread asleep or stopped,
and no processor time used, is no long step. It knows the promise and what the kernel says of the
process; it does not know what is done there.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

LOOK_S = 0.25  # of any time between two looks, no more counts as silence
DOUBT_S = 0.3  # after so much silence its processor time is taken down
SHARE = 0.5  # of the processor; one that had less, and wanted it, was starved
ASLEEP_S = 1.4  # so long a silence without work is no step; signs of life are never so far apart
NOTHING = 0.05  # of the processor: what a process that does no work may have used
AT_WORK = ("R", "D")  # the kernel's letters for who runs or wants to, or waits for the disk


class Watch:
    """One process's, from its start; `patience_s` is until when it promised to be heard."""

    def __init__(
        self, pid: int, patience_s: float, longest_s: float, computes: bool = False
    ) -> None:
        """Who is starved of the processor is given `longest_s`, or its promise if that is more.

        `computes` says that its steps run on the processor, and nowhere else.
        """
        self.patience_s = patience_s
        self._computes = computes
        self._pid, self._longest_s = pid, longest_s
        self._silent_s = 0.0
        self._looked_s = time.monotonic()
        # Since when it is doubted: its silence, its first thread's and all its processor time.
        self._doubt: tuple[float, float, float] | None = None

    def heard(self, patience_s: float | None = None) -> None:
        """A sign of life, maybe with another promise."""
        self.patience_s = self.patience_s if patience_s is None else patience_s
        self._silent_s, self._doubt = 0.0, None
        self._looked_s = time.monotonic()

    @property
    def hung(self) -> bool:
        """Whether it is; to be asked at every turn, after whatever it said was heard."""
        now_s = time.monotonic()
        # Silence that nobody listened to does not count: the asker may have been held up itself.
        self._silent_s += min(now_s - self._looked_s, LOOK_S)
        self._looked_s = now_s
        if self._silent_s > DOUBT_S and self._doubt is None:
            self._doubt = self._silent_s, processor_s(self._pid)[1], work(self._pid)[1]
        if self._silent_s <= self.patience_s:
            return self._computes and self._silent_s > ASLEEP_S and self._asleep()
        return self._silent_s > self._longest_s or not self._starved()

    def _asleep(self) -> bool:
        assert self._doubt is not None
        silent_s, _, before_s = self._doubt
        works, used_s = work(self._pid)
        return not works and used_s - before_s <= NOTHING * (self._silent_s - silent_s)

    def _starved(self) -> bool:
        assert self._doubt is not None
        runnable, used_s = processor_s(self._pid)
        silent_s, before_s, _ = self._doubt
        return runnable and used_s - before_s < SHARE * (self._silent_s - silent_s)


def processor_s(pid: int) -> tuple[bool, float]:
    """Whether a process's first thread wants the processor, and how much it has had.

    (False, 0.0) where the system does not say (no Linux), or there is no such process.
    """
    state, used_s = _stat(Path(f"/proc/{pid}/task/{pid}"))
    return state == "R", used_s


def work(pid: int) -> tuple[bool, float]:
    """Whether any thread of a process is at work, and how much processor time all have had.

    (True, 0.0) where the system does not say, or there is no such process.
    """
    process = Path(f"/proc/{pid}")
    try:
        states = [_stat(task)[0] for task in (process / "task").iterdir()]
    except OSError:
        return True, 0.0
    return any(state in AT_WORK for state in states), _stat(process)[1]


def _stat(folder: Path) -> tuple[str, float]:
    """The kernel's letter for a thread's or a process's state, and its processor time in seconds.

    ("", 0.0) where there is none.
    """
    try:
        # The name may hold spaces and brackets; the last bracket ends it.
        fields = (folder / "stat").read_text().rpartition(")")[2].split()
        ticks = int(fields[11]) + int(fields[12])  # utime, stime
    except (OSError, IndexError, ValueError):
        return "", 0.0
    return fields[0], ticks / os.sysconf("SC_CLK_TCK")
