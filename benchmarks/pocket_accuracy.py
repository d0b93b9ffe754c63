"""How often the pocket Otter is right on episodes nobody has seen, in fp32 and int8, beside four
controls.

    python benchmarks/pocket_accuracy.py --bundle runtime/otter_runtime/pocket/bundle-int8 \\
        --episodes 500 --seed 1 --json

Episodes come from the evaluation seeds, which no training, calibration or steering touched.
Every class is asked equally often. Prints a table, then one flat JSON line.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from otter_export.bundle_writer import Export
from otter_export.sample import read_samples
from otter_export.settings import Settings
from otter_model.checkpoint import open_checkpoint
from otter_runtime.bundle import Bundle
from otter_runtime.errors import OtterError
from otter_tuning.pocket import calibration
from otter_tuning.pocket.cases import Case, perception_cases, planning_cases
from otter_tuning.pocket.data import render
from otter_tuning.pocket.evaluate import (
    Answerer,
    accuracy,
    another,
    blank,
    last_frame,
    majority,
    mean,
)
from otter_tuning.pocket.kinds import HELD_OUT_TEXTURES, STRETCH, evaluation_seeds
from otter_tuning.pocket.questions import CLASSES

ROOT = Path(__file__).resolve().parents[1]
CHECKPOINT = ROOT / "tuning" / "pocket" / "checkpoint"
MOST_PER_CLASS = 1000
Report = Callable[[str], None]


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--bundle", type=Path, required=True, help="the int8 bundle")
    parser.add_argument("--checkpoint", type=Path, default=CHECKPOINT, help="its fp32 origin")
    parser.add_argument("--episodes", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0, help="which stretch of evaluation seeds")
    parser.add_argument("--per-class", type=int, help="planning questions a class (1.2 an episode)")
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--json", action="store_true", help="only the JSON line")
    args = parser.parse_args(argv)
    args.per_class = args.per_class or min(MOST_PER_CLASS, 6 * args.episodes // 5)
    try:
        row = measure(args, say=lambda line: print(line, file=sys.stderr, flush=True))
    except OtterError as error:
        print(error, file=sys.stderr)
        return 2
    if not args.json:
        print_table(row)
    print(json.dumps(known(row)))
    return 0


def measure(args: argparse.Namespace, say: Report) -> dict[str, object]:
    """The flat row of figures: accuracies in 0..1."""
    bundle = Bundle.load(args.bundle)
    say(f"rendering {args.episodes} episodes")
    episodes = render(evaluation_seeds(args.seed, args.episodes), jpeg=False)
    planning = planning_cases(episodes, args.per_class, args.seed)
    memory = [case for case in planning if case.memory]
    perception = perception_cases(episodes, 2 * args.per_class // 3, args.seed)
    strange = render(
        evaluation_seeds(args.seed, max(1, args.episodes // 2), STRETCH // 2),
        HELD_OUT_TEXTURES,
        jpeg=False,
    )
    unseen = planning_cases(strange, args.per_class // 3, args.seed)

    int8 = Answerer(bundle, episodes, args.threads)
    asked = Asked(say)
    planned = asked(int8, planning, "int8")
    perceived = asked(int8, perception, "int8 perception")
    remembered = asked(int8, memory, "last frame only", last_frame)
    blanked = asked(int8, planning, "blank frames", blank)
    shuffled = asked(int8, planning, "another episode", another(args.episodes))
    textured = asked(Answerer(bundle, strange, args.threads), unseen, "unseen textures")
    with tempfile.TemporaryDirectory() as folder:
        say("exporting fp32")
        fp32 = Answerer(fp32_bundle(bundle, args.checkpoint, Path(folder)), episodes, args.threads)
        planned_fp32 = asked(fp32, planning, "fp32")
        perceived_fp32 = asked(fp32, perception, "fp32 perception")
    return {
        "planning_fp32": mean(planned_fp32),
        "planning_int8": mean(planned),
        "planning_by_class_int8": {label: mean(planned, [label]) for label in CLASSES},
        "memory_int8": mean(planned, CLASSES[-2:]),
        "memory_last_frame": mean(remembered),
        "planning_blank": mean(blanked),
        "planning_shuffled": mean(shuffled),
        "planning_majority": majority(planning),
        "perception_int8": mean(perceived),
        "perception_fp32": mean(perceived_fp32),
        "perception_by_question_int8": {label: mean(perceived, [label]) for label in perceived},
        "planning_unseen_textures_int8": mean(textured),
        "answers": len(planning) + len(perception),
        "all_answers": asked.count,
        "episodes": args.episodes,
        "seed": args.seed,
        "model_hash": bundle.model_hash,
    }


def known(value: object) -> object:
    """`value` with null instead of NaN: of a class that no episode had."""
    if isinstance(value, dict):
        return {name: known(item) for name, item in value.items()}
    return None if isinstance(value, float) and math.isnan(value) else value


class Asked:
    """Asks a set of cases, tells the share that was right, and counts all answers."""

    def __init__(self, say: Report) -> None:
        self.count = 0
        self._say = say

    def __call__(
        self,
        answerer: Answerer,
        cases: Sequence[Case],
        name: str,
        view: Callable[[Case], tuple[int, Sequence[int]]] | None = None,
    ) -> dict[str, list[bool]]:
        results = accuracy(answerer, cases, view)
        self.count += len(cases)
        self._say(f"{name:18} {mean(results):6.1%} of {len(cases)}")
        return results


def fp32_bundle(bundle: Bundle, checkpoint: Path, folder: Path) -> Bundle:
    """The fp32 twin of `bundle`, exported from its checkpoint with the same settings."""
    source, manifest = open_checkpoint(checkpoint), bundle.manifest
    file = folder / "calibration.npz"
    calibration.main(["--out", str(file), "--quiet"])
    samples = read_samples(file, manifest.preprocess, manifest.tokens.image)[:8]
    return Export(source, "fp32", samples, Settings.of(manifest)).write(folder / "fp32")


def print_table(row: dict[str, object]) -> None:
    """Figures, one a line; nested ones indented."""
    for name, value in row.items():
        if isinstance(value, dict):
            print(name)
            for label, share in value.items():
                print(f"  {label:32} {share:7.1%}")
        elif isinstance(value, float):
            print(f"{name:34} {value:7.1%}")
        else:
            print(f"{name:34} {value}")


if __name__ == "__main__":
    sys.exit(main())
