"""`otter-edge verify`: holds a bundle to its hashes and golden answers, and to its fp32 twin."""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from otter_runtime.progress_bar import Bar

if TYPE_CHECKING:
    from otter_export.comparison import Comparison, WholeError
    from otter_export.progress import Progress
    from otter_export.sample import Sample
    from otter_runtime.bundle import Bundle

ABOUT = "check a bundle's files and golden answers; with --against, tell where its error enters"
WORLDS = "otter_edge.worlds"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("bundle", type=Path, help="the bundle's folder")
    parser.add_argument("--threads", type=int, help="default: as the runtime chooses")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    twin = parser.add_argument_group("beside fp32")
    twin.add_argument(
        "--against",
        type=Path,
        metavar="FOLDER",
        help="the checkpoint that the bundle was made of, or an fp32 bundle of it: compares graph "
        "by graph, layer by layer and as a whole, and puts the figures into the manifest",
    )
    twin.add_argument(
        "--samples", type=Path, metavar="FILE", help="calibration file (default: golden prompts)"
    )
    twin.add_argument("--most", type=int, default=64, help="samples of it to use (default 64)")
    twin.add_argument(
        "--baseline",
        action="store_true",
        help="bitsandbytes' LLM.int8 and NF4 on the same weights; needs a checkpoint",
    )
    twin.add_argument(
        "--episodes",
        type=int,
        metavar="N",
        help="ask it about so many fresh episodes of its own world (pocket has one)",
    )
    twin.add_argument("--seed", type=int, default=0, help="which episodes (default 0)")
    twin.add_argument("--report", type=Path, metavar="FILE", help="write the figures as a page")
    twin.add_argument(
        "--no-write", action="store_true", help="leave the bundle's manifest as it is"
    )


def run(args: argparse.Namespace) -> int:
    """Print the figures; BundleError (exit code 2) where the bundle is not what it says."""
    from otter_runtime.bundle import Bundle
    from otter_runtime.errors import UserError

    bundle = Bundle.load(args.bundle)
    if args.against is None and (args.report or args.baseline or args.episodes):
        raise UserError("a report compares with fp32; give --against CHECKPOINT or an fp32 bundle")
    told = _golden(args, bundle)
    if args.against is not None:
        told["against"] = _compared(args, bundle)
    print(json.dumps(told) if args.json else _text(told))
    return 0


def _golden(args: argparse.Namespace, bundle: Bundle) -> dict[str, Any]:
    """Hold the bundle to its golden answers."""
    import msgspec

    from otter_runtime.golden import check, load_golden, require
    from otter_runtime.onnx_engine import open_engine

    manifest = bundle.manifest
    engine = open_engine(bundle, args.threads)
    figures = check(engine, load_golden(bundle), manifest.decoding, manifest.tokens)
    require(figures, manifest.verification)
    return {
        "bundle": str(bundle.path),
        "model_hash": bundle.model_hash,
        "engine": engine.describe(),
        "figures": msgspec.to_builtins(figures),
        "stated": manifest.verification,
    }


def _compared(args: argparse.Namespace, bundle: Bundle) -> dict[str, Any]:
    """Hold the bundle to its fp32 twin; writes manifest and report as it was told to."""
    from otter_export.comparison import compare
    from otter_export.twin import Twin

    samples = _samples(args, bundle)
    with tempfile.TemporaryDirectory(prefix="otter-twin-") as folder, Bar(args.json) as bar:
        twin = Twin.of(bundle, args.against, samples, Path(folder), bar)
        comparison = compare(twin.bundle, bundle, samples, args.threads, bar)
        baselines = _baselines(args, twin.checkpoint, samples, comparison, bar)
        accuracy = _accuracy(args, bundle, twin.bundle, bar)
    told = _figures(comparison, baselines, accuracy)
    if not args.no_write:
        _state(bundle, told)
    if args.report is not None:
        from otter_export.verify_report import write_report

        write_report(args.report, bundle, comparison, baselines, accuracy)
        told["report"] = str(args.report)
    return told


def _samples(args: argparse.Namespace, bundle: Bundle) -> list[Sample]:
    from otter_export.golden_set import golden_samples
    from otter_export.sample import read_samples
    from otter_runtime.golden import load_golden

    if args.samples is None:
        return golden_samples(load_golden(bundle))
    manifest = bundle.manifest
    return read_samples(args.samples, manifest.preprocess, manifest.tokens.image)[: args.most]


def _baselines(
    args: argparse.Namespace,
    checkpoint: Any,
    samples: list[Sample],
    comparison: Comparison,
    progress: Progress,
) -> list[WholeError]:
    from otter_runtime.errors import UserError

    if not args.baseline:
        return []
    if checkpoint is None:
        raise UserError("--baseline quantizes weights; give --against the checkpoint's folder")
    from otter_export.baseline import baselines
    from otter_export.comparison import whole_error

    progress("bitsandbytes", 0, 1)
    logits = baselines(checkpoint, samples)
    progress("bitsandbytes", 1, 1)
    return [whole_error(name, comparison.logits, rows) for name, rows in logits.items()]


def _accuracy(
    args: argparse.Namespace, bundle: Bundle, twin: Bundle, progress: Progress
) -> dict[str, Any] | None:
    """Right answers on fresh episodes, where the bundle's model has a world of its own."""
    from importlib.metadata import entry_points

    from otter_runtime.errors import UserError

    if not args.episodes:
        return None
    worlds = {point.name: point for point in entry_points(group=WORLDS)}
    if bundle.manifest.name not in worlds:
        known = ", ".join(worlds) or "none installed"
        raise UserError(
            f"there is no world of fresh episodes for {bundle.manifest.name!r} (there is: {known})"
            "; leave --episodes out"
        )
    measure = worlds[bundle.manifest.name].load()
    told: dict[str, Any] = measure(bundle, twin, args.episodes, args.seed, progress)
    return told


def _figures(
    comparison: Comparison, baselines: list[WholeError], accuracy: dict[str, Any] | None
) -> dict[str, Any]:
    from dataclasses import asdict

    worst = max(comparison.layers, key=lambda layer: layer.own)
    return {
        "samples": comparison.samples,
        "whole": asdict(comparison.whole),
        "graphs": [asdict(graph) for graph in comparison.graphs],
        "worst_layer": asdict(worst),
        "layers": len(comparison.layers),
        "baselines": [asdict(row) for row in baselines],
        "accuracy": accuracy,
    }


def _state(bundle: Bundle, told: dict[str, Any]) -> None:
    """Put the figures into the manifest; the files and so the model's hash stay as they are."""
    import msgspec

    from otter_runtime.bundle import MANIFEST, write_manifest
    from otter_runtime.errors import UserError

    stated = {**bundle.manifest.verification, "against_fp32": told}
    manifest = msgspec.structs.replace(bundle.manifest, verification=stated)
    try:
        write_manifest(bundle.path / MANIFEST, manifest)
    except OSError as error:
        raise UserError(
            f"{bundle.path / MANIFEST} cannot be written ({error.strerror}); give --no-write"
        ) from error


def _text(told: dict[str, Any]) -> str:
    lines = [f"{told['bundle']}  {told['model_hash'][:12]}  {told['engine']}"]
    for name, value in told["figures"].items():
        lines.append(f"  {name:20} {value:>12.6g}   stated {told['stated'].get(name)}")
    if against := told.get("against"):
        lines.append(f"{'':14} greedy agreement    KL mean   KL p99     cosine")
        for row in (against["whole"], *against["baselines"]):
            lines.append(
                f"  {row['name']:12} {row['greedy_agreement']:16.2%} {row['next_token_kl']:10.5f}"
                f" {row['worst_kl']:8.4f} {row['cosine']:10.6f}"
            )
        for row in against["graphs"]:
            lines.append(
                f"  {row['graph']:12} {row['precision']:>16} relative error "
                f"{row['relative_error']:.4f}, cosine {row['cosine']:.6f}"
            )
        worst = against["worst_layer"]
        lines.append(f"  most error enters at {worst['name']} ({worst['own']:.4f} of its output)")
        for name, value in (against["accuracy"] or {}).items():
            lines.append(
                f"  {name:32} {value:.4f}" if isinstance(value, float) else f"  {name:32} {value}"
            )
        if "report" in against:
            lines.append(f"  report: {against['report']}")
    return "\n".join(lines)
