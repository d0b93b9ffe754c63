"""What the runtime counts about itself, for the heartbeat.

It knows numbers; whoever sees something happen counts it here.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from pathlib import Path

from otter_robots.messages import Health
from otter_runtime.archive import Archive
from otter_runtime.governor import Governor
from otter_runtime.scribe import NOBODY, Scribe

MIB = 1 << 20


@dataclass
class Vitals:
    """Counts since the start; `newest_ns` is the capture time of the newest frame (0: none)."""

    started_ns: int = field(default_factory=time.monotonic_ns)
    frames: int = 0
    frames_dropped: int = 0
    answers: int = 0
    abstained: int = 0
    late: int = 0
    quiet: int = 0
    newest_ns: int = 0

    def health(
        self,
        *,
        brain_alive: bool,
        brain_restarts: int,
        dropped: int,
        damaged: int,
        hostile: int,
        archive: Archive,
        journal_ok: bool,
        stopped: bool,
        blind: str,
        disk_free_mb: float | None,
        denied: int,
        governor: Governor,
        scribe: Scribe = NOBODY,
    ) -> Health:
        """The heartbeat's message, as of now; `dropped` frames never reached the front."""
        now_ns = time.monotonic_ns()
        return Health(
            uptime_s=(now_ns - self.started_ns) / 1e9,
            brain_alive=brain_alive,
            brain_restarts=brain_restarts,
            frames=self.frames,
            frames_dropped=self.frames_dropped + dropped,
            frames_damaged=damaged,
            frame_age_ms=(now_ns - self.newest_ns) / 1e6 if self.newest_ns else None,
            answers=self.answers,
            abstained=self.abstained,
            late=self.late,
            quiet=self.quiet,
            hostile=hostile,
            missed=archive.missed,
            recovered=archive.recovered,
            lost=archive.lost,
            journal_ok=journal_ok,
            stopped=stopped,
            recorded=scribe.recorded,
            unrecorded=scribe.unrecorded,
            rss_mib=_resident_mib(),
            blind=blind,
            disk_free_mb=disk_free_mb,
            denied=denied,
            temperature_c=governor.temperature_c,
            governor_step=governor.step,
            throttled=governor.throttled,
            power_mode=governor.reading.power_mode,
            cpu_mhz=governor.reading.cpu_mhz,
            gpu_mhz=governor.reading.gpu_mhz,
        )


def _resident_mib() -> float | None:
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, IndexError, ValueError):
        return None
    return pages * os.sysconf("SC_PAGE_SIZE") / MIB
