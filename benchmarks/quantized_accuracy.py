"""What each precision costs the pocket Otter, on the same fresh questions, with and without
outliers.

    python benchmarks/quantized_accuracy.py                        5,005 questions of all variants
    python benchmarks/quantized_accuracy.py --questions 700 --variants int4 nearest-int4
    python benchmarks/quantized_accuracy.py --keep DIR --variants fp32    in pieces: what DIR has
                                                                   is not asked again

Every variant is exported from the checkpoint and asked the same questions, drawn from evaluation
seeds; each is set beside fp32 question by question. `plain-int8` is int8 without moving outliers,
`nearest-int4` has int4's blocks with every weight at its nearest code, `-alone` leaves all but the
decoder's body in fp32; `+outliers` are of the checkpoint with function-preserving outliers in
every norm. KL is of the next token along
the right answer, from fp32, over some of the questions. Prints a table, then one JSON line.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from otter_export.bundle_writer import Export
from otter_export.outliers import injected
from otter_export.precision import LARGEST, MOMENTS, RECIPES, Choice, Int4, Int8, Recipe
from otter_export.sample import read_samples
from otter_export.settings import Settings
from otter_model.checkpoint import open_checkpoint
from otter_runtime.bundle import Bundle
from otter_runtime.engine import Floats
from otter_runtime.errors import OtterError
from otter_runtime.paired import paired
from otter_tuning.pocket import calibration
from otter_tuning.pocket.cases import Case, planning_cases
from otter_tuning.pocket.data import FIELDS, Episodes, render
from otter_tuning.pocket.evaluate import Answerer
from otter_tuning.pocket.kinds import evaluation_seeds
from otter_tuning.pocket.questions import CLASSES

ROOT = Path(__file__).resolve().parents[1]
CHECKPOINT = ROOT / "tuning" / "pocket" / "checkpoint"
SHIPPED = ROOT / "runtime" / "otter_runtime" / "pocket" / "bundle-int8"
OUTLIERS = "+outliers"
BASE = "fp32"
# The baselines, as precisions of their own.
BASELINES = {
    "plain-int8": Recipe(lambda seen: Int8(seen["largest"], strength=0), (LARGEST,)),
    "nearest-int4": Recipe(
        lambda seen: Int4(seen["moments"], Int8(seen["largest"]), strength=0, feedback=False),
        (LARGEST, MOMENTS),
    ),
}
CHOICES = {
    BASE: Choice.all("fp32"),
    "int8": Choice.all("int8"),
    "int4": Choice.all("int4"),
    "plain-int8": Choice.all("plain-int8"),
    "nearest-int4": Choice(decoder="nearest-int4"),
    # Nothing else rounded: how much of the KL is the rounding of the body.
    "int4-alone": Choice("fp32", "fp32", "int4", "fp32"),
    "nearest-int4-alone": Choice("fp32", "fp32", "nearest-int4", "fp32"),
}
VARIANTS = (*CHOICES, *(f"{name}{OUTLIERS}" for name in CHOICES))
KL_QUESTIONS = 500


@dataclass(frozen=True)
class Result:
    """One variant's answers: right or wrong (n,), and logits (tokens, vocab) along right ones."""

    right: NDArray[np.bool_]
    logits: Floats


@dataclass(frozen=True)
class Figures:
    """Accuracy, its difference from fp32's with McNemar's interval, and the next token's KL."""

    planning: float
    difference: float
    interval: tuple[float, float]
    only_variant: int
    only_fp32: int
    p: float
    next_token_kl: float
    next_token_equal: float

    @classmethod
    def of(cls, base: Result, other: Result) -> Figures:
        pair = paired(base.right.tolist(), other.right.tolist())
        return cls(
            planning=pair.second,
            difference=pair.difference,
            interval=(pair.low, pair.high),
            only_variant=pair.only_second,
            only_fp32=pair.only_first,
            p=pair.p_value,
            next_token_kl=divergence(base.logits, other.logits),
            next_token_equal=float((base.logits.argmax(1) == other.logits.argmax(1)).mean()),
        )


@dataclass
class Run:
    """The questions of one seed, asked of any variant; what was asked is kept in `folder`."""

    folder: Path
    questions: int
    seed: int
    threads: int | None

    def result(self, variant: str) -> Result:
        """The variant's answers, from the folder where they are there."""
        path = self.folder / f"{variant}.npz"
        if not path.exists():
            right, logits = self._ask(variant)
            np.savez(path, right=right, logits=logits)
        with np.load(path, allow_pickle=False) as file:
            return Result(file["right"], file["logits"])

    def _ask(self, variant: str) -> tuple[NDArray[np.bool_], Floats]:
        began = time.monotonic()
        with tempfile.TemporaryDirectory() as temporary:
            answerer = Answerer(
                self._export(variant, Path(temporary)), self.episodes(), self.threads
            )
        cases = self.cases()
        right = np.array([case.right(answer(answerer, case)) for case in cases])
        chosen = np.random.default_rng(0).permutation(len(cases))[:KL_QUESTIONS]
        logits = [
            answerer.logits(case.question, case.answer, case.episode, case.frames)
            for case in (cases[i] for i in sorted(chosen))
        ]
        say(f"{variant:24} {right.mean():6.1%} of {len(right)}, {time.monotonic() - began:.0f} s")
        return right, np.concatenate(logits)

    def _export(self, variant: str, folder: Path) -> Bundle:
        name = variant.removesuffix(OUTLIERS)
        checkpoint, manifest = open_checkpoint(CHECKPOINT), Bundle.load(SHIPPED).manifest
        if name != variant:
            checkpoint = injected(checkpoint)
        samples = read_samples(self.calibration(), manifest.preprocess, manifest.tokens.image)
        export = Export(checkpoint, CHOICES[name], samples, Settings.of(manifest), threads=1)
        return export.write(folder / "bundle")

    def episodes(self) -> Episodes:
        """Rendered at the first call, then read from the folder."""
        folder = self.folder / "episodes"
        if not folder.exists():
            count = -(-self.questions // len(CLASSES)) * 5 // 6 + 1  # 1.2 questions a class each
            say(f"rendering {count} episodes")
            rendered = render(evaluation_seeds(self.seed, count), jpeg=False)
            folder.mkdir()
            for field in FIELDS:
                np.save(folder / f"0-{field}.npy", getattr(rendered, field))
        return Episodes.open(folder)

    def cases(self) -> list[Case]:
        """Every class equally often, window by window."""
        drawn = planning_cases(self.episodes(), -(-self.questions // len(CLASSES)), self.seed)
        return sorted(drawn, key=lambda case: (case.episode, case.frames))

    def calibration(self) -> Path:
        """The calibration samples' file; made at the first call."""
        path = self.folder / "calibration.npz"
        if not path.exists():
            calibration.main(["--out", str(path), "--quiet"])
        return path


def answer(answerer: Answerer, case: Case) -> str:
    return answerer.answer(case.question, case.episode, case.frames)


def main(arguments: Sequence[str] | None = None) -> int:
    """Ask, print; the exit code, 2 for the user's mistakes."""
    args = _parser().parse_args(arguments)
    RECIPES.update(BASELINES)
    with tempfile.TemporaryDirectory() as temporary:
        folder = (args.keep or Path(temporary)) / f"{args.questions}-{args.seed}"
        folder.mkdir(parents=True, exist_ok=True)
        run = Run(folder, args.questions, args.seed, args.threads)
        try:
            rows = measure(run, args.variants)
        except OtterError as error:
            print(error, file=sys.stderr)
            return 2
        count = len(run.cases())
    if not args.json:
        print(table(rows))
    told = {name: asdict(row) for name, row in rows.items()}
    print(json.dumps({"questions": count, "seed": args.seed, "variants": told}))
    return 0


def measure(run: Run, variants: Sequence[str]) -> dict[str, Figures]:
    """Each variant's figures beside fp32's."""
    base = run.result(BASE)
    return {variant: Figures.of(base, run.result(variant)) for variant in variants}


def divergence(base: Floats, other: Floats) -> float:
    """Mean KL of the distributions of two sets of logits (n, vocab), in nats."""
    p, q = (_log_softmax(logits.astype(np.float64)) for logits in (base, other))
    return float((np.exp(p) * (p - q)).sum(1).mean())


def _log_softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    shifted = logits - logits.max(1, keepdims=True)
    normed: NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
    return normed


def table(rows: dict[str, Figures]) -> str:
    """The figures for people; differences in points, and how many only one side got right."""
    head = f"{'variant':24}{'planning':>9}{'points':>8}  {'95 % interval':16}{'only':>5}{'fp32':>5}"
    lines = [f"{head}{'p':>8}{'KL':>10}{'token':>8}"]
    for name, row in rows.items():
        low, high = (100 * edge for edge in row.interval)
        lines.append(
            f"{name:24}{row.planning:9.2%}{100 * row.difference:+8.2f}"
            f"  {f'{low:+.2f} to {high:+.2f}':16}{row.only_variant:5}{row.only_fp32:5}"
            f"{row.p:8.3f}{row.next_token_kl:10.5f}{row.next_token_equal:8.2%}"
        )
    return "\n".join(lines)


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--questions", type=int, default=5005, help="about (default 5005)")
    parser.add_argument("--seed", type=int, default=0, help="which stretch of evaluation seeds")
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep answers, ask only new ones")
    parser.add_argument("--threads", type=int, help="default: as the runtime chooses")
    parser.add_argument("--json", action="store_true", help="the JSON line alone")
    return parser


if __name__ == "__main__":
    sys.exit(main())
