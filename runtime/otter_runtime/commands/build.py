"""`otter-edge build`: a bundle's graphs to TensorRT engines, on the device that will run them."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("bundle", type=Path, help="the bundle's folder; engines go into it")
    parser.add_argument("--rebuild", action="store_true", help="also where there is an engine")
    parser.add_argument(
        "--workspace-mb",
        type=int,
        default=1024,
        metavar="MB",
        help="memory that TensorRT may try kernels with (default: 1024)",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object at the end")


def run(args: argparse.Namespace) -> int:
    """Build, check against the golden answers, install; then tell where."""
    import msgspec

    from otter_runtime.bundle import Bundle
    from otter_runtime.errors import UserError
    from otter_runtime.trt.builder import build

    if args.workspace_mb < 1:
        raise UserError(f"--workspace-mb should be at least 1, got {args.workspace_mb}")
    bundle = Bundle.load(args.bundle)
    say = _silent if args.json else _Progress()
    plans = build(bundle, say, args.workspace_mb << 20, args.rebuild)
    told = {"engine": str(plans.folder), **msgspec.to_builtins(plans.record)}
    print(json.dumps(told) if args.json else _text(plans.folder, told["figures"]))
    return 0


def _text(folder: Path, figures: dict[str, float]) -> str:
    return (
        f"{folder}\n"
        f"cosine to fp32: features {figures['features_cosine']:.5f}, "
        f"media {figures['media_cosine']:.5f}, logits {figures['logits_cosine']:.5f}; "
        f"{figures['answers_equal']} of {figures['answers']} golden answers equal\n"
        "run it: otter-edge run with brain.provider: tensorrt-native"
    )


def _silent(what: str, done: int, total: int) -> None:
    """Progress that nobody watches."""


class _Progress:
    """A line for each phase of TensorRT's, and every five seconds while one lasts."""

    def __init__(self) -> None:
        self._begun = time.monotonic()
        self._told = 0.0
        self._what = ""

    def __call__(self, what: str, done: int, total: int) -> None:
        now = time.monotonic()
        if what == self._what and now - self._told < 5 and done < total:
            return
        self._what, self._told = what, now
        print(f"{now - self._begun:6.0f} s  {what}  {done}/{total}", file=sys.stderr, flush=True)
