"""Which processor a figure was measured on, and what it has for products of small integers."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

# As Linux names them: x86's matrix unit, its vector dot products, and Arm's.
INT8 = ("amx_int8", "avx512_vnni", "avx_vnni", "asimddp", "i8mm", "sve2")


def cpu(path: Path = Path("/proc/cpuinfo")) -> dict[str, Any]:
    """The `name` of the processor, and which of `INT8` it has; none where Linux tells nothing."""
    try:
        lines = path.read_text().splitlines()
    except OSError:
        lines = []
    told = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    flags = (told.get("flags") or told.get("Features") or "").split()
    return {
        "name": told.get("model name") or platform.processor() or platform.machine(),
        "int8": [name for name in INT8 if name in flags],
    }
