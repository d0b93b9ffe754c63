"""`otter-edge lint`: would TensorRT's parser take this bundle? Asked without TensorRT."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from otter_export.tensorrt.lint import Report

ABOUT = "hold a bundle's graphs to the rules of TensorRT's parser"
EXIT_CODES = {"pass": 0, "errors": 1, "unknown": 3}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("path", type=Path, help="the bundle's folder, or an ONNX file")
    parser.add_argument(
        "--tensorrt", required=True, metavar="VERSION", help="the device's, e.g. 10.3 (JetPack 6.2)"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object")


def run(args: argparse.Namespace) -> int:
    """Print the findings; 1 where there is an error, 3 where the version has no source."""
    from otter_export.tensorrt.lint import lint

    report = lint(_graphs(args.path), args.tensorrt)
    print(json.dumps(report.as_dict()) if args.json else _text(report))
    return EXIT_CODES[report.verdict]


def _graphs(path: Path) -> list[Path]:
    """The graphs of a bundle (its weights are not read), or the one file."""
    from otter_runtime.bundle import Bundle

    if not path.is_dir():
        return [path]
    graphs = Bundle.load(path, verify=False).manifest.graphs
    return [path / graph.file for graph in (graphs.vision, graphs.resampler, graphs.decoder)]


def _text(report: Report) -> str:
    from otter_export.tensorrt.lint import known_versions

    rows = [
        f"{name:10} opset {counts['opset']}  {counts['nodes']} nodes, "
        f"{counts['quantized']} of them Q or DQ"
        for name, counts in report.graphs.items()
    ]
    rows += [
        f"{found.severity:8}{found.rule:22}{found.graph} {found.node}\n        {found.message}"
        for found in report.findings
    ]
    if report.verdict == "unknown":
        rows.append(
            f"unknown: there is no source for TensorRT {report.version}, so nothing was checked; "
            f"known are {known_versions()}"
        )
        return "\n".join(rows)
    errors = sum(found.severity == "error" for found in report.findings)
    rows.append(
        f"TensorRT {report.version}: {errors} errors, {len(report.findings) - errors} warnings "
        f"(by {'; '.join(report.sources)})"
    )
    return "\n".join(rows)
