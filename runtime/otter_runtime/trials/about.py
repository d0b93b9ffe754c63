"""What is known of a run before its first frame: clocks, version, machine, power mode, model.

It reads a few files of the machine and of the bundle; it does not know recordings. All of it
stands in every segment, so that each can be understood alone.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import msgspec

import otter_robots
import otter_runtime
from otter_runtime.config import RunConfig
from otter_runtime.sources import public

FORMAT = "1"
NVPMODEL_S = 3.0
_PACKAGES = ("otter-edge", "otter-robots", "mcap", "numpy", "pillow", "onnxruntime", "tensorrt")
_MODEL = Path("/proc/device-tree/model")
_JETPACK = Path("/etc/nv_tegra_release")
_GOVERNOR = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
_TIMEX_BYTES, _TIME_ERROR = 256, 5  # struct timex has 208 on 64 bits; linux/timex.h
_FASTEST = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_max_freq")


@dataclass(frozen=True)
class About:
    """Metadata by name, attached files by name, and the two clocks at one moment."""

    name: str
    mono_ns: int
    wall_ns: int
    metadata: Mapping[str, Mapping[str, str]]
    files: Mapping[str, bytes]

    def log_ns(self, mono_ns: int) -> int:
        """A moment of the monotonic clock on the trial's: wall time that nobody sets meanwhile."""
        return self.wall_ns + mono_ns - self.mono_ns


def about(name: str, files: Mapping[str, bytes], bundle: Path | None = None) -> About:
    """Everything about this machine and build, now; the bundle's manifest is attached."""
    mono_ns, wall_ns = time.monotonic_ns(), time.time_ns()
    trial = {"format": FORMAT, "name": name, "mono_ns": str(mono_ns), "wall_ns": str(wall_ns)}
    metadata = {"trial": trial, "build": _build(), "machine": machine()}
    attached = dict(files)
    if bundle is not None:
        metadata["bundle"] = {"path": str(bundle)}
        with contextlib.suppress(OSError):
            attached["manifest.json"] = (bundle / "manifest.json").read_bytes()
    return About(name, mono_ns, wall_ns, metadata, attached)


def config_file(config: RunConfig) -> Mapping[str, bytes]:
    """The configuration of a run as an attachment.

    A trial is passed on: addresses are without the user and password that they may carry.
    """
    told = msgspec.structs.replace(config, source=[public(address) for address in config.source])
    return {"config.json": msgspec.json.encode(told)}


def machine() -> dict[str, str]:
    """Processor, memory, device, power mode and clocks, as far as this machine says."""
    found = {
        "machine": platform.machine(),
        "system": platform.platform(),
        "processors": str(os.cpu_count() or 0),
        "device": _line(_MODEL),
        "jetpack": _line(_JETPACK),
        "governor": _line(_GOVERNOR),
        "max_khz": _line(_FASTEST),
        "power_mode": _power_mode(),
        "clock_synced": _clock_synced(),
    }
    return {name: value for name, value in found.items() if value}


def _build() -> dict[str, str]:
    found = {"python": platform.python_version(), "code": _code()}
    for package in _PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


def _code() -> str:
    """What stands for the program itself, changes of its own included: 16 hex digits."""
    digest = hashlib.sha256()
    for package in (otter_robots, otter_runtime):
        folder = Path(next(iter(package.__path__)))
        for file in sorted(folder.rglob("*.py")):
            digest.update(f"{package.__name__}/{file.relative_to(folder)}\0".encode())
            with contextlib.suppress(OSError):
                digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def _clock_synced() -> str:
    """Whether the system says that its wall clock follows another; "" where it does not say."""
    kernel = ctypes.CDLL(None)
    if not hasattr(kernel, "adjtimex"):
        return ""
    timex = ctypes.create_string_buffer(_TIMEX_BYTES)  # all zero: it only asks
    state = kernel.adjtimex(timex)
    return "" if state < 0 else "no" if state == _TIME_ERROR else "yes"


def _power_mode() -> str:
    """What Jetson's own tool says, on one line; "" elsewhere."""
    tool = shutil.which("nvpmodel")
    if tool is None:
        return ""
    try:
        said = subprocess.run(
            [tool, "-q"], capture_output=True, text=True, timeout=NVPMODEL_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return " ".join(said.stdout.split())


def _line(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip("\0\n ").partition("\n")[0]
    except OSError:
        return ""
