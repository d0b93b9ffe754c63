"""What an export takes: seconds and resident memory by stage, sizes, each beside its prediction.

    python benchmarks/export_cost.py -- --random otter-mpt1b -o bundle-1b/
    python benchmarks/export_cost.py -- CHECKPOINT --calibration clips/ -o bundle/ --threads 2

What follows `--` goes to `otter-edge export`, which runs as a process of its own and is looked at
twenty times a second. Prints a table, then one JSON line.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import IO, Any

import psutil

INTERVAL_S = 0.05
GB = 1e9
# Progress where nobody watches: seconds, what, done/total.
STAGE = re.compile(r"^\s*\d+ s  (?P<what>.+?)\s+\d+/\d+$")
OUT = ("-o", "--out")
EXPORT = [sys.executable, "-m", "otter_runtime", "export"]


@dataclass
class Stages:
    """Seconds and the largest resident memory (bytes) of each stage, in order."""

    rows: dict[str, list[float]] = field(default_factory=dict)
    now: str = "start"
    begun: float = field(default_factory=time.monotonic)

    def enter(self, what: str) -> None:
        """The next stage began, and the one before has ended."""
        now = time.monotonic()
        self._row(self.now)[0] += now - self.begun
        self.begun, self.now = now, what

    def saw(self, resident: int) -> None:
        """What the process holds now."""
        row = self._row(self.now)
        row[1] = max(row[1], resident)

    def _row(self, what: str) -> list[float]:
        return self.rows.setdefault(what, [0.0, 0.0])

    @property
    def peak(self) -> float:
        return max(resident for _, resident in self.rows.values())


def main(arguments: list[str] | None = None) -> int:
    """Run the export, print what it took; its exit code."""
    parser = argparse.ArgumentParser(description="What an export takes.")
    parser.add_argument("words", nargs="+", help="of `otter-edge export`, after --")
    words = parser.parse_args(arguments).words
    plan = subprocess.run([*EXPORT, *words, "--plan", "--json"], stdout=subprocess.PIPE, text=True)
    if plan.returncode:
        return plan.returncode
    code, stages = watched([*EXPORT, *words])
    if code == 0:
        out = Path(next(after for word, after in pairwise(words) if word in OUT))
        _tell(json.loads(plan.stdout), stages, out)
    return code


def watched(command: list[str]) -> tuple[int, Stages]:
    """Run `command`, whose progress is on stderr: its exit code and what each stage took."""
    stages = Stages()
    with subprocess.Popen(
        command, stdout=sys.stderr, stderr=subprocess.PIPE, text=True, bufsize=1
    ) as process:
        assert process.stderr is not None
        reader = threading.Thread(target=_follow, args=(process.stderr, stages))
        reader.start()
        for resident in _resident(process):
            stages.saw(resident)
        reader.join()
    stages.enter("end")
    return process.returncode, stages


def _follow(lines: IO[str], stages: Stages) -> None:
    for line in lines:
        print(line, end="", file=sys.stderr, flush=True)
        if found := STAGE.match(line.rstrip()):
            stages.enter(found["what"])


def _resident(process: subprocess.Popen[str]) -> Iterator[int]:
    seen = psutil.Process(process.pid)
    while process.poll() is None:
        try:
            yield seen.memory_info().rss
        except psutil.Error:  # it has just ended
            return
        time.sleep(INTERVAL_S)


def _tell(plan: dict[str, Any], stages: Stages, out: Path) -> None:
    sizes = {name: (out / f"{name}.bin").stat().st_size for name in plan["bytes"]}
    print(f"{'stage':24}{'seconds':>10}{'peak GB':>10}")
    for what, (seconds, resident) in stages.rows.items():
        print(f"{what:24}{seconds:10.1f}{resident / GB:10.2f}")
    total = sum(seconds for seconds, _ in stages.rows.values())
    print(f"{'all':24}{total:10.1f}{stages.peak / GB:10.2f}   plan {plan['peak_memory_gb']:.2f}")
    for name, size in sizes.items():
        print(f"{name + '.bin':34}{size / GB:10.3f}   plan {plan['bytes'][name] / GB:.3f}")
    told = {
        "benchmark": "export_cost",
        "precision": plan["precision"],
        "seconds": round(total, 1),
        "peak_gb": round(stages.peak / GB, 2),
        "plan_peak_gb": plan["peak_memory_gb"],
        "bytes": sizes,
        "plan_bytes": plan["bytes"],
        "stages": {
            what: {"seconds": round(seconds, 1), "peak_gb": round(resident / GB, 2)}
            for what, (seconds, resident) in stages.rows.items()
        },
    }
    print(json.dumps(told))


if __name__ == "__main__":
    sys.exit(main())
