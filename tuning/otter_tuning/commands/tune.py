"""`otter-edge tune`: in-context instruction tuning of a checkpoint on MIMIC-IT data."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

ABOUT = "tune a checkpoint on MIMIC-IT data; goes on where it was cut"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("config", type=Path, help="a YAML file, see docs/tuning.md")
    parser.add_argument("--steps", type=int, help="instead of whole epochs")
    parser.add_argument("--out", help="instead of the file's folder")
    parser.add_argument("--json", action="store_true", help="one JSON object at the end")


def run(args: argparse.Namespace) -> int:
    """Tune, and tell where the checkpoint is."""
    from otter_tuning.training.config import read_config
    from otter_tuning.training.run import opened

    config = read_config(args.config, {"steps": args.steps, "out": args.out})
    tuned = opened(config)
    folder = tuned.run()
    if tuned.log is not None:
        rows = tuned.log.rows()
        last = {row["on"]: float(row["loss"]) for row in rows if row["loss"]}
        told = {"checkpoint": str(folder), "steps": tuned.steps, "loss": last}
        print(json.dumps(told) if args.json else f"{folder}  {tuned.steps} steps  {last}")
    return 0
