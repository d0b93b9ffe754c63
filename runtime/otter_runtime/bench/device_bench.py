"""A device measured in every power mode it has, each in a process of its own.

It reads sensors while the stages run, puts the mode back that was on before, and sets each figure
beside what was predicted of the device. How a stage is measured it does not know.
"""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from otter_runtime.bench.devices import device_of
from otter_runtime.bench.forecast import Forecast, forecast
from otter_runtime.bench.power_modes import Mode, PowerModes
from otter_runtime.bundle import Bundle
from otter_runtime.doctor.host import Host
from otter_runtime.errors import EngineError
from otter_runtime.onnx_engine import CHUNK
from otter_runtime.sensors import Reading, Sensors

POLL_S = 0.5
Say = Callable[[str], None]


class ModeReport(msgspec.Struct, frozen=True, kw_only=True):
    """One power mode. Clocks are the highest, the temperature the hottest, while it was measured.

    `measured` is what `otter-edge bench --json` prints; None where `note` says why there is none.
    """

    mode: str
    cpu_mhz: float | None = None
    gpu_mhz: float | None = None
    temperature_c: float | None = None
    throttled: int = 0
    measured: dict[str, Any] | None = None
    predicted: Forecast | None = None
    note: str = ""


class DeviceBench:
    """`words` are the options of the `otter-edge bench` that measures one mode."""

    def __init__(
        self,
        bundle: Bundle,
        words: Sequence[str],
        on_gpu: bool,
        modes: PowerModes | None = None,
        root: Path = Path("/"),
    ) -> None:
        self._bundle, self._words, self._on_gpu = bundle, list(words), on_gpu
        self._modes = PowerModes(root) if modes is None else modes
        self._sensors = Sensors(root)
        host = Host(root)
        self.device = host.text("proc/device-tree/model") or _processor(host)

    def run(self, say: Say) -> list[ModeReport]:
        """Every mode found, or the one there is. Raises EngineError where measuring fails."""
        found, before = self._modes.found(), self._modes.present
        if not found:
            return [self._measured(before, say)]
        reports = []
        try:
            for mode in found:
                refused = self._modes.take(mode)
                if refused:
                    reports.append(ModeReport(mode=mode.name, note=refused))
                    say(f"{mode.name}: {refused}")
                else:
                    reports.append(self._measured(mode.name, say))
        finally:
            self._back(found, before)
        return reports

    def _back(self, found: list[Mode], before: str) -> None:
        for mode in found:
            if mode.name == before:
                self._modes.take(mode)

    def _measured(self, mode: str, say: Say) -> ModeReport:
        say(f"measuring {mode or 'this machine'}")
        begun = self._sensors.read()
        command = [sys.executable, "-m", "otter_runtime", "bench", "--json", *self._words]
        readings = []
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
            while True:
                try:
                    out, _ = child.communicate(timeout=POLL_S)
                    break
                except subprocess.TimeoutExpired:
                    readings.append(self._sensors.read())
        if child.returncode:
            raise EngineError(f"bench ended with {child.returncode} in {mode}; above it says why")
        readings.append(self._sensors.read())
        return ModeReport(
            mode=mode,
            cpu_mhz=_most(reading.cpu_mhz for reading in readings),
            gpu_mhz=_most(reading.gpu_mhz for reading in readings),
            temperature_c=_most(reading.temperature_c for reading in readings),
            throttled=max(0, readings[-1].throttled - begun.throttled),
            measured=json.loads(out),
            predicted=self._predicted(readings[-1]),
        )

    def _predicted(self, reading: Reading) -> Forecast | None:
        """None for a machine without stated rates, and for its processor."""
        device = device_of(self.device, reading.power_mode)
        return forecast(self._bundle, device, CHUNK) if device and self._on_gpu else None


def _most(values: Any) -> float | None:
    return max((value for value in values if value is not None), default=None)


def _processor(host: Host) -> str:
    names = [line for line in host.text("proc/cpuinfo").splitlines() if "model name" in line]
    return names[0].partition(":")[2].strip() if names else platform.machine()
