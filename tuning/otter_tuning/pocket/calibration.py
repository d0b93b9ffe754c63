"""Write the pocket's calibration file: windows, prompts and right answers from seeds of their own.

    python -m otter_tuning.pocket.calibration --out build/pocket-calibration.npz

The file's form is the one that `otter-edge export --calibration` reads.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

from otter_tuning.pocket.cases import perception_cases, planning_cases
from otter_tuning.pocket.data import render
from otter_tuning.pocket.kinds import SEEDS
from otter_tuning.pocket.tokenizer import END, PROMPT, train_tokenizer

EPISODES, PER_CLASS, PER_QUESTION = 48, 12, 12
PADDING = -1


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Write the pocket's calibration file.")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--quiet", action="store_true")
    args = parser.parse_args(argv)
    count = write(args.out, SEEDS["calibration"][:EPISODES])
    if not args.quiet:
        print(f"{args.out}: {count} samples, {args.out.stat().st_size / 1e6:.1f} MB")
    return 0


def write(out: Path, seeds: range) -> int:
    """Questions about the episodes of `seeds`, with their right answers, to `out`; how many."""
    episodes, tokenizer = render(seeds), train_tokenizer()
    cases = planning_cases(episodes, PER_CLASS, 0) + perception_cases(episodes, PER_QUESTION, 0)
    # Mixed, because an export takes its golden prompts from the front.
    cases = [cases[i] for i in np.random.default_rng(0).permutation(len(cases))]
    texts = [PROMPT.format(question=case.question) + case.answer + END for case in cases]
    rows = [tokenizer.encode(text).ids for text in texts]
    ids = np.full((len(rows), max(map(len, rows))), PADDING, np.int64)
    for at, row in enumerate(rows):
        ids[at, : len(row)] = row
    frames = np.stack([episodes.frames[case.episode, list(case.frames)] for case in cases])
    out.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(out, frames=frames, ids=ids)
    return len(cases)


if __name__ == "__main__":
    sys.exit(main())
