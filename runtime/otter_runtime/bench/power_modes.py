"""A Jetson's power modes: which there are, and taking one, through its own `nvpmodel`.

It does not know what a mode is good for. Some modes want a restart of the machine; those are left
alone, and it says so.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from otter_runtime.sensors import Sensors

TAKES_S = 60.0
SETTLES_S = 5.0  # until clocks and fans have followed

_MODE = re.compile(r"<\s*POWER_MODEL\s+ID=(\d+)\s+NAME=(\S+?)\s*>")


@dataclass(frozen=True)
class Mode:
    """One of them, by nvpmodel's number and name."""

    id: int
    name: str


class PowerModes:
    """Those below `root`; `command` is nvpmodel with what must stand before it."""

    def __init__(
        self,
        root: Path = Path("/"),
        command: Sequence[str] | None = None,
        settles_s: float = SETTLES_S,
    ) -> None:
        self._sensors = Sensors(root)
        self._names = root / "etc/nvpmodel.conf"
        self._command = list(_nvpmodel() if command is None else command)
        self._settles_s = settles_s

    @property
    def present(self) -> str:
        """The name of the mode that is on, "" where the machine has none."""
        return self._sensors.read().power_mode

    def found(self) -> list[Mode]:
        """All that the machine lists, in its order; none without nvpmodel."""
        try:
            listed = self._names.read_text("utf-8", "replace")
        except OSError:
            return []
        modes = [Mode(int(number), name) for number, name in _MODE.findall(listed)]
        return modes if self._command else []

    def take(self, mode: Mode) -> str:
        """Switch to `mode`; why it could not be, "" where it is on."""
        if self.present == mode.name:
            return ""
        words = [*self._command, "-m", str(mode.id)]
        try:
            # It asks before it restarts the machine.
            done = subprocess.run(
                words, input="no\n", capture_output=True, text=True, timeout=TAKES_S, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return f"nvpmodel did not do it ({error})"
        time.sleep(self._settles_s)
        if self.present == mode.name:
            return ""
        said = " ".join(f"{done.stdout} {done.stderr}".split())[-200:]
        return f"nvpmodel did not take it ({said or 'it says nothing'}); run this with sudo"


def _nvpmodel() -> list[str]:
    tool = shutil.which("nvpmodel", path=os.environ.get("PATH", "") + os.pathsep + "/usr/sbin")
    if tool is None:
        return []
    return [tool] if os.geteuid() == 0 else ["sudo", "-n", tool]
