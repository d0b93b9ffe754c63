"""Rows for the README's table of devices, one per power mode, from what `on_device.sh` gathered.

    python benchmarks/device_row.py FOLDER

FOLDER has facts.txt (`name: value` lines), build.json, bench.json, latency.json and tests.txt.
Prints the rows (with their head), what they were measured with, and one JSON line; nothing is
computed here.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import msgspec

from otter_runtime.bench.device_bench import ModeReport
from otter_runtime.bench.rows import table


def main(arguments: list[str] | None = None) -> int:
    """Print the rows; 2 where the folder is not what on_device.sh writes."""
    words = sys.argv[1:] if arguments is None else arguments
    if len(words) != 1:
        print((__doc__ or "").strip(), file=sys.stderr)
        return 2
    try:
        report = gathered(Path(words[0]))
        print(shown(report))
    except (OSError, KeyError, ValueError, IndexError, msgspec.ValidationError) as error:
        print(f"{words[0]} is not what on_device.sh writes ({error!r}); run that", file=sys.stderr)
        return 2
    print(json.dumps(report))
    return 0


def gathered(folder: Path) -> dict[str, Any]:
    """All that was gathered, by file."""
    lines = (folder / "facts.txt").read_text().splitlines()
    found = {
        name: json.loads((folder / f"{name}.json").read_text())
        for name in ("build", "bench", "latency")
    }
    return {
        "facts": dict(line.split(": ", 1) for line in lines if ": " in line),
        "tests": (folder / "tests.txt").read_text().splitlines()[-1].strip("= "),
        **found,
    }


def shown(report: dict[str, Any]) -> str:
    """Markdown, for the README."""
    bench, build, facts = report["bench"], report["build"], report["facts"]
    figures = build["figures"]
    return (
        f"{table(bench['device'], msgspec.convert(bench['modes'], list[ModeReport]))}\n"
        f"L4T {facts['l4t']}; TensorRT {build['tensorrt']}; golden answers "
        f"{figures['answers_equal']}/{figures['answers']}; device tests: {report['tests']}"
    )


if __name__ == "__main__":
    sys.exit(main())
