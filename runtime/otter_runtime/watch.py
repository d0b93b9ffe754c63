"""Whether a process that promised a sign of life is hung, or merely slow to get the processor.

It knows the promise and what the kernel says of the process; it does not know what is done there.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

LOOK_S = 0.25  # of any time between two looks, no more counts as silence
DOUBT_S = 0.3  # after so much silence its processor time is taken down
SHARE = 0.5  # of the processor; one that had less, and wanted it, was starved


class Watch:
    """One process's, from its start; `patience_s` is until when it promised to be heard."""

    def __init__(self, pid: int, patience_s: float, longest_s: float) -> None:
        """Who is starved of the processor is given `longest_s`, or its promise if that is more."""
        self.patience_s = patience_s
        self._pid, self._longest_s = pid, longest_s
        self._silent_s = 0.0
        self._looked_s = time.monotonic()
        self._doubt: tuple[float, float] | None = None  # silence and processor time, seconds

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
            self._doubt = self._silent_s, processor_s(self._pid)[1]
        if self._silent_s <= self.patience_s:
            return False
        return self._silent_s > self._longest_s or not self._starved()

    def _starved(self) -> bool:
        assert self._doubt is not None
        runnable, used_s = processor_s(self._pid)
        silent_s, before_s = self._doubt
        return runnable and used_s - before_s < SHARE * (self._silent_s - silent_s)


def processor_s(pid: int) -> tuple[bool, float]:
    """Whether a process's first thread wants the processor, and how much it has had.

    (False, 0.0) where the system does not say (no Linux), or there is no such process.
    """
    try:
        # The name may hold spaces and brackets; the last bracket ends it.
        fields = Path(f"/proc/{pid}/task/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks = int(fields[11]) + int(fields[12])  # utime, stime
    except (OSError, IndexError, ValueError):
        return False, 0.0
    return fields[0] == "R", ticks / os.sysconf("SC_CLK_TCK")
