"""Bundles of random weights, exported once into a cache folder: for speed, not for quality."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from otter_runtime.errors import UserError

if TYPE_CHECKING:
    from otter_model.checkpoint import Checkpoint

SMALL_CAPACITIES = (32, 64)


def random_bundle(
    name: str, precision: str, cache: Path, small: Callable[[], Checkpoint] | None = None
) -> Path:
    """The folder of `name` in `precision`, exported unless it is there.

    A published size is exported in a process of its own, whose memory ends with it; where `small`
    gives a checkpoint, that one is, here. Raises UserError where there is no such size.
    """
    out = cache / f"{name}-{precision}"
    if (out / "manifest.json").exists():
        return out
    cache.mkdir(parents=True, exist_ok=True)
    if small is not None:
        return _small(name, precision, out, small())
    words = ["export", "--random", name, "--precision", precision, "-o", str(out), "--json"]
    done = subprocess.run([sys.executable, "-m", "otter_runtime", *words], stdout=sys.stderr)
    if done.returncode:
        raise UserError(f"{name} could not be exported in {precision}; above it says why")
    return out


def _small(name: str, precision: str, out: Path, checkpoint: Checkpoint) -> Path:
    from otter_export.bundle_writer import Export
    from otter_export.sample import random_samples
    from otter_export.settings import Settings

    samples = random_samples(checkpoint.config, 2, frames=2, length=20)
    settings = Settings(name=name, capacities=SMALL_CAPACITIES)
    return Export(checkpoint, precision, samples, settings, threads=1).write(out).path
