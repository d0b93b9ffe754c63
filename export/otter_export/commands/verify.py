"""`otter-edge verify`: holds a bundle to its hashes and to its golden answers."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

ABOUT = "check a bundle's files and run it against its golden answers"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("bundle", type=Path, help="the bundle's folder")
    parser.add_argument("--threads", type=int, help="default: as the runtime chooses")
    parser.add_argument("--json", action="store_true", help="one JSON object")


def run(args: argparse.Namespace) -> int:
    """Print the figures; BundleError (exit code 2) where the bundle is not what it says."""
    import msgspec

    from otter_runtime.bundle import Bundle
    from otter_runtime.golden import check, load_golden, require
    from otter_runtime.onnx_engine import open_engine

    bundle = Bundle.load(args.bundle)
    manifest = bundle.manifest
    engine = open_engine(bundle, args.threads)
    figures = check(engine, load_golden(bundle), manifest.decoding, manifest.tokens)
    told = {
        "bundle": str(bundle.path),
        "model_hash": bundle.model_hash,
        "engine": engine.describe(),
        "figures": msgspec.to_builtins(figures),
        "stated": manifest.verification,
    }
    if args.json:
        print(json.dumps(told))
    else:
        print(f"{bundle.path}  {bundle.model_hash[:12]}  {engine.describe()}")
        for name, value in msgspec.to_builtins(figures).items():
            print(f"  {name:20} {value:>12.6g}   stated {manifest.verification.get(name)}")
    require(figures, manifest.verification)
    return 0
