"""A bundle: whether its files are what its manifest says, and whether it fits into memory.

What it needs is predicted from its sizes; nothing is loaded.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from otter_runtime.bundle import Bundle
from otter_runtime.doctor.finding import Finding, fail, ok, warn
from otter_runtime.doctor.host import Host
from otter_runtime.errors import OtterError

MIB = 1 << 20
PROCESSES = 300 * MIB  # front and brain without a model
FLOAT = 4


def bundle(host: Host, path: Path) -> Iterator[Finding]:
    """Each file against its hash, then memory."""
    try:
        loaded = Bundle.load(path)
    except OtterError as error:
        remedy = "copy or export it again"
        yield fail("bundle", str(error), remedy)
        return
    yield ok("bundle", f"{loaded.manifest.name} at {path}: every file matches its hash")
    yield from memory(host, loaded)


def memory(host: Host, loaded: Bundle) -> Iterator[Finding]:
    """What the bundle needs against what there is; ONNX Runtime packs weights beside the file."""
    weights = sum(
        (loaded.path / name).stat().st_size
        for graph in (
            loaded.manifest.graphs.vision,
            loaded.manifest.graphs.resampler,
            loaded.manifest.graphs.decoder,
        )
        for name in (graph.file, graph.data)
        if name
    )
    dims = loaded.manifest.dims.decoder
    cache = 2 * dims.layers * dims.heads * dims.head_dim * max(loaded.manifest.capacities) * FLOAT
    least, most = PROCESSES + weights + cache, PROCESSES + 2 * weights + cache
    total, free = _memory(host)
    if not total:
        return
    needs = f"{loaded.manifest.name} needs {_gb(least)} to {_gb(most)} (predicted)"
    there = f"{_gb(free)} of {_gb(total)} are free"
    remedy = "use a bundle of fewer bits (int4) or a smaller model"
    if least > total:
        yield fail("memory", f"{needs}, {there}", remedy)
    elif most > free:
        yield warn("memory", f"{needs}, {there}", f"end other programs, or {remedy}")
    else:
        yield ok("memory", f"{needs}, {there}")


def _memory(host: Host) -> tuple[int, int]:
    """Bytes in all and bytes free, of the machine or of the container; 0 where nobody tells."""
    lines = dict(re.findall(r"^(\w+):\s+(\d+) kB", host.text("proc/meminfo"), re.MULTILINE))
    total, free = int(lines.get("MemTotal", 0)) << 10, int(lines.get("MemAvailable", 0)) << 10
    limit, used = host.text("sys/fs/cgroup/memory.max"), host.text("sys/fs/cgroup/memory.current")
    if limit.isdecimal() and used.isdecimal() and int(limit) < total:
        return int(limit), min(free, max(0, int(limit) - int(used)))
    return total, free


def _gb(size: int) -> str:
    return f"{size / 1e9:.1f} GB"
