"""Ways of rounding the decoder to int4, with the same blocks, on samples that none of them saw.

    python benchmarks/rounding.py
    python benchmarks/rounding.py --outliers --json

Of the pocket model; all but the decoder's body stays fp32. Per way: the relative error of its
layers' outputs, each fed with fp32's input, and the next token's KL from fp32, in nats, and
agreement with it, over all tokens of the samples. Prints a table, then one JSON line.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from otter_export.bundle_writer import Export
from otter_export.comparison import Comparison, compare
from otter_export.outliers import injected
from otter_export.precision import LARGEST, MOMENTS, RECIPES, Choice, Int4, Int8, Recipe
from otter_export.sample import Sample, read_samples
from otter_export.settings import Settings
from otter_model.checkpoint import open_checkpoint
from otter_runtime.bundle import Bundle
from otter_tuning.pocket import calibration
from otter_tuning.pocket.kinds import SEEDS, evaluation_seeds

ROOT = Path(__file__).resolve().parents[1]
CHECKPOINT = ROOT / "tuning" / "pocket" / "checkpoint"
SHIPPED = ROOT / "runtime" / "otter_runtime" / "pocket" / "bundle-int8"
# Whether channels are moved into the norms first, and whether errors are fed back.
WAYS = {
    "nearest": (0.0, False),
    "nearest, migrated": (0.5, False),
    "fed back": (0.0, True),
    "fed back, migrated": (0.5, True),  # what an export does
}


@dataclass(frozen=True)
class Row:
    """One way's figures; `layer_error` is the root of the mean square over layers."""

    layer_error: float
    worst_layer_error: float
    next_token_kl: float
    worst_kl: float  # the 99th percentile of tokens
    next_token_equal: float

    @classmethod
    def of(cls, compared: Comparison) -> Row:
        own = np.array([layer.own for layer in compared.layers if layer.graph == "decoder"])
        own = own[own > 0]  # the head is the same
        whole = compared.whole
        return cls(
            layer_error=float(np.sqrt(np.mean(own**2))),
            worst_layer_error=float(own.max()),
            next_token_kl=whole.next_token_kl,
            worst_kl=whole.worst_kl,
            next_token_equal=whole.greedy_agreement,
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """Round, compare, print."""
    args = _parser().parse_args(arguments)
    manifest = Bundle.load(SHIPPED).manifest
    checkpoint = open_checkpoint(CHECKPOINT)
    if args.outliers:
        checkpoint = injected(checkpoint)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        calibration.write(folder / "seen.npz", SEEDS["calibration"][: calibration.EPISODES])
        calibration.write(folder / "unseen.npz", evaluation_seeds(args.seed, args.episodes))
        seen, unseen = (
            read_samples(folder / name, manifest.preprocess, manifest.tokens.image)
            for name in ("seen.npz", "unseen.npz")
        )
        export = Export(checkpoint, "fp32", seen, Settings.of(manifest), threads=1)
        rows = measure(export, unseen, folder, args.threads)
    if not args.json:
        print(table(rows))
    told = {name: asdict(row) for name, row in rows.items()}
    print(json.dumps({"samples": len(unseen), "outliers": args.outliers, "ways": told}))
    return 0


def measure(
    export: Export, samples: Sequence[Sample], folder: Path, threads: int | None
) -> dict[str, Row]:
    """Each way's bundle beside fp32's on `samples`."""
    truth, rows = export.write(folder / "fp32"), {}
    for name, (strength, feedback) in WAYS.items():
        RECIPES["way"] = recipe(strength, feedback)
        choice = Choice("fp32", "fp32", "way", "fp32")
        made = replace(export, precision=choice).write(folder / "way", overwrite=True)
        rows[name] = Row.of(compare(truth, made, samples, threads))
    del RECIPES["way"]
    return rows


def recipe(strength: float, feedback: bool) -> Recipe:
    """Int4 with these options."""
    return Recipe(
        lambda seen: Int4(seen["moments"], Int8(seen["largest"]), strength, feedback),
        (LARGEST, MOMENTS),
    )


def table(rows: dict[str, Row]) -> str:
    """The figures for people."""
    lines = [f"{'':20}{'layers':>8}{'worst':>8}{'KL':>10}{'99 %':>10}{'token':>9}"]
    for name, row in rows.items():
        lines.append(
            f"{name:20}{row.layer_error:8.2%}{row.worst_layer_error:8.2%}"
            f"{row.next_token_kl:10.5f}{row.worst_kl:10.4f}{row.next_token_equal:9.2%}"
        )
    return "\n".join(lines)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--outliers", action="store_true", help="put outliers into every norm")
    parser.add_argument("--episodes", type=int, default=48, help="of the samples compared on")
    parser.add_argument("--seed", type=int, default=0, help="which stretch of evaluation seeds")
    parser.add_argument("--threads", type=int, help="default: as the runtime chooses")
    parser.add_argument("--json", action="store_true", help="the JSON line alone")
    return parser


if __name__ == "__main__":
    sys.exit(main())
