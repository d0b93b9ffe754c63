"""How far a bundle's logits move with the way a prompt is cut into chunks.

    python benchmarks/chunking.py                           the bundled pocket model
    python benchmarks/chunking.py --bundle PATH ...

The golden prompts are prefilled at once, in chunks of 8 and token by token. The cache may be cut
anywhere, so answers should not depend on it: differences are those of the last logits, largest of
the vocabulary, over their standard deviation. Prints a table, then one JSON line.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from otter_runtime.bundle import Bundle
from otter_runtime.engine import Engine, Floats, Media
from otter_runtime.errors import OtterError
from otter_runtime.golden import Golden, load_golden
from otter_runtime.onnx_engine import open_engine

ROOT = Path(__file__).resolve().parents[1]
POCKET = ROOT / "runtime" / "otter_runtime" / "pocket" / "bundle-int8"
CHUNKS = (8, 1)


def main(arguments: list[str] | None = None) -> int:
    """Measure every bundle, print; 2 where one is none."""
    parser = argparse.ArgumentParser(description="How far logits move with chunking.")
    parser.add_argument("--bundle", type=Path, nargs="+", default=[POCKET])
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args(arguments)
    try:
        rows = [measured(path, options.threads) for path in options.bundle]
    except OtterError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"{'bundle':24}{'decoder':14}" + "".join(f"chunks of {n:<8}" for n in CHUNKS))
    for row in rows:
        moved = "".join(f"{row['sigma'][str(n)]:<18.2g}" for n in CHUNKS)
        print(f"{row['bundle']:24}{row['decoder']:14}{moved}")
    print(json.dumps({"benchmark": "chunking", "rows": rows}))
    return 0


def measured(path: Path, threads: int) -> dict[str, Any]:
    """The largest difference over the golden prompts, by chunk."""
    bundle = Bundle.load(path)
    golden, engine = load_golden(bundle), open_engine(bundle, threads)
    media = [engine.resample(features) for features in golden.features]
    sigma = {
        str(size): max(_moved(engine, golden, i, media, size) for i in range(len(golden.prompts)))
        for size in CHUNKS
    }
    return {
        "bundle": path.name,
        "decoder": bundle.manifest.graphs.decoder.precision,
        "sigma": sigma,
    }


def _moved(engine: Engine, golden: Golden, row: int, media: Sequence[Media], size: int) -> float:
    ids, index = golden.prompts[row], golden.media_index[row]
    shown = [media[golden.medium[row]]]
    whole = _last(engine, ids, index, shown, len(ids))
    return float(np.abs(_last(engine, ids, index, shown, size) - whole).max() / whole.std())


def _last(
    engine: Engine, ids: Sequence[int], index: Sequence[int], media: Sequence[Media], size: int
) -> Floats:
    cache = engine.new_cache()
    for at in range(0, len(ids), size):
        logits = engine.prefill(cache, ids[at : at + size], index[at : at + size], media)
    return logits.copy()


if __name__ == "__main__":
    sys.exit(main())
