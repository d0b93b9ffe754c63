"""How hot the machine is, how fast, what power it may draw, and how often it throttled itself.

Everything is a file below `root`, so a container mounts what it may see and a test makes a tree.
What is not there, or cannot be read just now, is left out: most machines have a part of it. It
does not know what follows from a temperature.

- `sys/class/thermal/thermal_zone*/{type,temp}`: millidegrees. A Jetson's `tj-thermal` is its
  junction, zones of engines that are switched off cannot be read.
- `sys/class/hwmon/hwmon*/oc*_event_cnt`: a Jetson's over-current events; on x86
  `sys/devices/system/cpu/cpu*/thermal_throttle/*_throttle_count`.
- `sys/devices/system/cpu/cpu*/cpufreq/scaling_cur_freq`: kHz; the fastest core's counts. Of a
  Jetson's GPU `sys/class/devfreq/*gpu*/cur_freq` (before JetPack 6 `*.ga10b`), Hz.
- `var/lib/nvpmodel/status` (`pmode:0002`), with the mode's name in `etc/nvpmodel.conf`.
- a file that `tegrastats --logfile` writes, where a container sees no sysfs of the host.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

COUNTERS = (
    "sys/class/hwmon/hwmon*/oc*_event_cnt",
    "sys/devices/system/cpu/cpu*/thermal_throttle/*_throttle_count",
)
COLDEST_C, HOTTEST_C = -60.0, 200.0  # beyond, a sensor has no reading or another unit
CPU_CLOCKS = ("sys/devices/system/cpu/cpu*/cpufreq/scaling_cur_freq",)
GPU_CLOCKS = ("sys/class/devfreq/*gpu*/cur_freq", "sys/class/devfreq/*.ga10b/cur_freq")
TAIL_BYTES = 4096  # more than any line of tegrastats

_TEGRASTATS = re.compile(r"\b([A-Za-z]\w*)@(-?\d+(?:\.\d+)?)C\b")
_MODE = re.compile(r"pmode:0*(\d+)")
_MODE_NAME = r"<\s*POWER_MODEL\s+ID={}\s+NAME=(\S+)\s*>"


@dataclass(frozen=True)
class Reading:
    """What the sensors say at one moment; what none says is None."""

    temperature_c: float | None = None
    zone: str = ""  # of the hottest
    throttled: int = 0  # events since the machine started
    power_mode: str = ""
    cpu_mhz: float | None = None
    gpu_mhz: float | None = None


class Sensors:
    """Those below `root`, and in the file `tegrastats` if given; `zones` empty means all."""

    def __init__(
        self, root: Path = Path("/"), zones: Iterable[str] = (), tegrastats: Path | None = None
    ) -> None:
        self._root, self._zones, self._tegrastats = root, frozenset(zones), tegrastats

    def read(self) -> Reading:
        """Now. Sensors behind a slow bus may take their time: not for the front's thread."""
        temperatures = [*self._thermal_zones(), *self._logged()]
        wanted = [one for one in temperatures if not self._zones or one[1] in self._zones]
        hottest, zone = max(wanted, default=(None, ""))
        return Reading(
            temperature_c=hottest,
            zone=zone[:64],
            throttled=self._events(),
            power_mode=self._power_mode()[:64],
            cpu_mhz=self._fastest(CPU_CLOCKS, 1e-3),
            gpu_mhz=self._fastest(GPU_CLOCKS, 1e-6),
        )

    def _thermal_zones(self) -> Iterator[tuple[float, str]]:
        for folder in self._root.glob("sys/class/thermal/thermal_zone*"):
            temperature = _number(_text(folder / "temp"))
            if temperature is not None and COLDEST_C < temperature / 1e3 < HOTTEST_C:
                yield temperature / 1e3, _text(folder / "type") or folder.name

    def _logged(self) -> Iterator[tuple[float, str]]:
        if self._tegrastats is not None:
            yield from parse(_last_line(self._tegrastats))

    def _events(self) -> int:
        paths = [path for pattern in COUNTERS for path in self._root.glob(pattern)]
        return int(sum(_number(_text(path)) or 0 for path in paths))

    def _fastest(self, patterns: Iterable[str], mhz: float) -> float | None:
        paths = [path for pattern in patterns for path in self._root.glob(pattern)]
        clocks = [clock for path in paths if (clock := _number(_text(path))) is not None]
        return max(clocks) * mhz if clocks and max(clocks) >= 0 else None

    def _power_mode(self) -> str:
        found = _MODE.search(_text(self._root / "var/lib/nvpmodel/status"))
        if found is None:
            return ""
        names = _text(self._root / "etc/nvpmodel.conf")
        named = re.search(_MODE_NAME.format(found[1]), names)
        return named[1] if named else f"mode {found[1]}"


def parse(line: str) -> Iterator[tuple[float, str]]:
    """Temperatures and names in a line of tegrastats: `... cpu@48.5C soc2@45C tj@48.5C ...`."""
    for zone, temperature in _TEGRASTATS.findall(line):
        if COLDEST_C < float(temperature) < HOTTEST_C:
            yield float(temperature), zone


def _last_line(path: Path) -> str:
    """The last whole line; the one after it is still being written."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, 2) - TAIL_BYTES))
            lines = file.read().rpartition(b"\n")[0].splitlines()
    except OSError:
        return ""
    return lines[-1].decode("ascii", "replace") if lines else ""


def _text(path: Path) -> str:
    try:
        return path.read_text("ascii", "replace").strip()
    except OSError:  # also EAGAIN of a zone whose engine is switched off
        return ""


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
