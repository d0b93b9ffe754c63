"""`otter-edge bench`: how long each stage takes here, cold and warm; or in every power mode."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from otter_runtime.commands.seconds import seconds

if TYPE_CHECKING:
    from otter_runtime.bench.stages import Timing
    from otter_runtime.bundle import Bundle


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add = parser.add_argument
    add("--bundle", type=Path, metavar="DIR", help="the model (default: the pocket model, int8)")
    add("--provider", default="cpu", help="as brain.provider: cpu, cuda, tensorrt, tensorrt-native")
    add("--threads", type=int, metavar="N", help="default: as the runtime chooses")
    add("--seconds", type=seconds, default=5.0, metavar="S", help="per stage (default: 5)")
    add(
        "--device",
        action="store_true",
        help="in every power mode that this machine has (sudo switches them), with clocks and "
        "heat, as rows of a table beside what was predicted",
    )
    add("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Measure and tell."""
    from otter_runtime.assembly import POCKET
    from otter_runtime.bundle import Bundle
    from otter_runtime.errors import UserError

    if args.threads is not None and args.threads < 1:
        raise UserError(f"--threads should be at least 1, got {args.threads}")
    bundle = Bundle.load(args.bundle or POCKET)
    return _modes(args, bundle) if args.device else _stages(args, bundle)


def _stages(args: argparse.Namespace, bundle: Bundle) -> int:
    import time

    from otter_runtime.bench.stages import Stages
    from otter_runtime.onnx_engine import open_engine
    from otter_runtime.progress_bar import Bar

    begun = time.perf_counter()
    engine = open_engine(bundle, args.threads, args.provider)
    load_s = round(time.perf_counter() - begun, 3)
    with Bar() as bar:
        timings = Stages(bundle, engine).measure(args.seconds, bar)
    told: dict[str, Any] = {
        "bundle": bundle.manifest.name,
        "model_hash": bundle.model_hash,
        "provider": args.provider,
        "engine": engine.describe(),
        "load_s": load_s,
    }
    if args.json:
        import msgspec

        print(json.dumps({**told, "stages": msgspec.to_builtins(timings)}))
    else:
        print(f"{told['bundle']} on {told['provider']}, loaded in {load_s:.2f} s")
        print(_text(timings))
    return 0


def _text(timings: dict[str, Timing]) -> str:
    rows = [f"{'stage':12}{'cold ms':>10}{'median ms':>12}{'p99 ms':>10}{'runs':>6}"]
    for name, one in timings.items():
        rows.append(
            f"{name:12}{one.cold_ms:10.2f}{one.median_ms:12.2f}{one.p99_ms:10.2f}{one.runs:6}"
        )
    return "\n".join(rows)


def _modes(args: argparse.Namespace, bundle: Bundle) -> int:
    import msgspec

    from otter_runtime.bench.device_bench import DeviceBench
    from otter_runtime.bench.rows import table
    from otter_runtime.trials.about import machine

    words = ["--bundle", str(bundle.path), "--provider", args.provider]
    words += ["--seconds", str(args.seconds)]
    words += [] if args.threads is None else ["--threads", str(args.threads)]
    bench = DeviceBench(bundle, words, on_gpu=args.provider != "cpu")
    reports = bench.run(lambda line: print(line, file=sys.stderr, flush=True))
    if args.json:
        modes = msgspec.to_builtins(reports)
        print(json.dumps({"device": bench.device, "machine": machine(), "modes": modes}))
    else:
        print(table(bench.device, reports))
    return 0
