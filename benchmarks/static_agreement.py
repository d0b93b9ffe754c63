"""How often int8 with kept caches chooses the token that int8 chooses with nothing kept.

    python benchmarks/static_agreement.py                      the bundled pocket model
    python benchmarks/static_agreement.py --bundle PATH --answers 200 --json

A static scale belongs to a tensor and not to a call, so a prompt may be cut anywhere: each answer
is decoded a token at a time from a prompt in chunks of random size, and each of its tokens is
chosen again from the whole prompt at once, on an empty cache. Prints a table, then one JSON line
with `agreement` (of greedy tokens), `bitwise` and the largest difference; ends with 1 where less
than 0.999 of the tokens agree.
"""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path

import numpy as np
from outcome import Report, lines, tell

from otter_runtime.assembly import POCKET
from otter_runtime.bundle import Bundle
from otter_runtime.engine import Floats, Media
from otter_runtime.onnx_engine import open_engine

PROMPT, DECODED, CHUNK = 48, 24, 64
WANTED = 0.999


class Agreement:
    """One bundle's engine, and random pictures and prompts for it."""

    def __init__(self, bundle: Bundle, threads: int, seed: int) -> None:
        self._engine, self._dims = open_engine(bundle, threads), bundle.manifest.dims
        self._frames = bundle.manifest.window.frames
        self._random = np.random.default_rng(seed)

    def answer(self) -> list[tuple[Floats, Floats]]:
        """Logits (vocab,) for each token of an answer: with what is kept, and with nothing."""
        media = [self._medium()]
        ids = self._random.integers(5, self._dims.decoder.vocab // 2, PROMPT).tolist()
        cache, rows = self._engine.new_cache(), []
        kept = self._in_chunks(cache, ids, media)
        for _ in range(DECODED):
            seen = [1] * len(ids)
            anew = self._engine.prefill(self._engine.new_cache(), ids, seen, media)
            rows.append((kept.copy(), anew.copy()))
            ids = [*ids, int(kept.argmax())]
            kept = self._engine.step(cache, ids[-1], 1, media)
        return rows

    def _in_chunks(self, cache: object, ids: list[int], media: list[Media]) -> Floats:
        at = 0
        while True:
            many = int(self._random.integers(1, CHUNK))
            piece = ids[at : at + many]
            logits = self._engine.prefill(cache, piece, [1] * len(piece), media)  # type: ignore[arg-type]
            at += len(piece)
            if at == len(ids):
                return logits

    def _medium(self) -> Media:
        size = self._dims.vision.image_size
        pixels = self._random.normal(size=(self._frames, 3, size, size)).astype(np.float32)
        features = [self._engine.encode(one[None])[0].copy() for one in pixels]
        return self._engine.resample(np.stack(features))


def main(arguments: list[str] | None = None) -> int:
    """Measure, print; 1 where too few agree, 2 where there is no such bundle."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--bundle", type=Path, default=POCKET)
    parser.add_argument("--answers", type=int, default=50)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="only the JSON line")
    options = parser.parse_args(arguments)
    return tell(
        lambda: measured(options),
        partial(lines, width=18),
        lambda report: bool(report["agreement"] >= WANTED),
        json_alone=options.json,
    )


def measured(options: argparse.Namespace) -> Report:
    """The report of so many answers."""
    bundle = Bundle.load(options.bundle)
    agreement = Agreement(bundle, options.threads, options.seed)
    rows = [row for _ in range(options.answers) for row in agreement.answer()]
    return {
        "bundle": bundle.manifest.name,
        "precision": bundle.manifest.graphs.decoder.precision,
        "tokens": len(rows),
        "agreement": float(np.mean([kept.argmax() == anew.argmax() for kept, anew in rows])),
        "bitwise": float(np.mean([np.array_equal(kept, anew) for kept, anew in rows])),
        "worst_difference": max(float(np.abs(kept - anew).max()) for kept, anew in rows),
        "logits_sigma": float(np.mean([kept.std() for kept, _ in rows])),
    }


if __name__ == "__main__":
    sys.exit(main())
