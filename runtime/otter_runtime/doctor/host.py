"""The machine as checks see it: files below a root, and what a module says when it is imported.

Modules are imported in a process of their own: a wheel for another machine may crash there.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PATIENCE_S = 120.0  # a first import on a device reads hundreds of megabytes


@dataclass(frozen=True)
class Host:
    """Files below `root`, on a processor of the kind `machine` (aarch64, x86_64)."""

    root: Path = Path("/")
    machine: str = platform.machine()

    def text(self, name: str) -> str:
        """What a file below the root holds, or nothing."""
        try:
            return (self.root / name).read_text("utf-8", "replace").strip("\0\n ")
        except OSError:
            return ""

    def may(self, path: Path) -> bool:
        """Whether this user may read and write it."""
        return os.access(path, os.R_OK | os.W_OK)

    @property
    def jetson(self) -> str:
        """Which Jetson this is, or nothing."""
        model = self.text("proc/device-tree/model")
        if "Jetson" in model or "Thor" in model:
            return model
        return "Jetson" if (self.root / "etc/nv_tegra_release").exists() else ""

    def asked(self, code: str) -> tuple[Any, str]:
        """What `code` prints as JSON in a Python of its own; or None and the last it said."""
        try:
            done = subprocess.run(
                [sys.executable, "-c", code],
                capture_output=True,
                text=True,
                timeout=PATIENCE_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return None, f"no answer for {PATIENCE_S:.0f} s"
        if done.returncode == 0:
            return json.loads(done.stdout.splitlines()[-1]), ""
        said = done.stderr.strip().splitlines()
        return None, said[-1] if said else f"its process ended with {done.returncode}"
