"""One row of the README's table of devices, from what `on_device.sh` gathered.

    python benchmarks/device_row.py FOLDER

FOLDER has facts.txt (`name: value` lines), build.json, latency.json and tests.txt. Prints the row
(with its head) and one JSON line; nothing in it is computed but tokens per second.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

COLUMNS = {
    "device": "device",
    "l4t": "L4T",
    "tensorrt": "TensorRT",
    "power": "power mode",
    "bundle": "bundle",
    "encode_ms": "encode ms",
    "prefill_ms": "prefill ms",
    "decode_tokens_s": "decode tok/s",
    "answers": "golden answers",
    "tests": "device tests",
}


def main(arguments: list[str] | None = None) -> int:
    """Print the row; 2 where the folder is not what on_device.sh writes."""
    words = sys.argv[1:] if arguments is None else arguments
    if len(words) != 1:
        print((__doc__ or "").strip(), file=sys.stderr)
        return 2
    try:
        report = row(Path(words[0]))
    except (OSError, KeyError, ValueError, IndexError) as error:
        print(f"{words[0]} is not what on_device.sh writes ({error!r}); run that", file=sys.stderr)
        return 2
    print(table([report]))
    print(json.dumps(report))
    return 0


def row(folder: Path) -> dict[str, Any]:
    """The row as values, with everything that was gathered behind it."""
    facts = dict(
        line.split(": ", 1)
        for line in (folder / "facts.txt").read_text().splitlines()
        if ": " in line
    )
    build = json.loads((folder / "build.json").read_text())
    latency = json.loads((folder / "latency.json").read_text())
    stages = {name: stage["median_ms"] for name, stage in latency["stages_ms"].items()}
    figures = build["figures"]
    return {
        "device": facts["model"],
        "l4t": facts["l4t"],
        "tensorrt": build["tensorrt"],
        "power": facts["power"],
        "bundle": latency["bundle"],
        "encode_ms": stages["encode"],
        "prefill_ms": stages["prefill"],
        "decode_tokens_s": round(1e3 / stages["decode"], 1),
        "answers": f"{figures['answers_equal']}/{figures['answers']}",
        "tests": (folder / "tests.txt").read_text().splitlines()[-1].strip("= "),
        "facts": facts,
        "build": build,
        "latency": latency,
    }


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown, for the README."""
    lines = ["| " + " | ".join(COLUMNS.values()) + " |", "|" + "---|" * len(COLUMNS)]
    lines += ["| " + " | ".join(str(row[name]) for name in COLUMNS) + " |" for row in rows]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
