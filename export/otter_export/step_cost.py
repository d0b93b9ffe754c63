"""How long each step takes on this machine, for the virtual clock of a replay.

A table is measured once, at export, and travels with the bundle: a replay never measures.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median

from otter_runtime.bundle import Manifest
from otter_runtime.engine import Engine
from otter_runtime.golden import Golden

REPEATS = 5
PREFILL = 32


def step_cost(engine: Engine, manifest: Manifest, golden: Golden) -> dict[str, float]:
    """Milliseconds per frame encoded, frame resampled, token prefilled, token decoded."""
    pixels, features = golden.pixels[0], golden.features[0]
    medium = engine.resample(features)
    count = min(PREFILL, manifest.dims.decoder.max_positions - REPEATS - 1)
    ids, index = [0] * count, [1] * count
    cache = engine.new_cache()

    def prefill() -> None:
        cache.truncate(0)
        engine.prefill(cache, ids, index, [medium])

    return {
        "encode": milliseconds(lambda: engine.encode(pixels[:1])),
        "resample": milliseconds(lambda: engine.resample(features)) / len(features),
        "prefill": milliseconds(prefill) / count,
        "decode": milliseconds(lambda: engine.step(cache, 0, 1, [medium])),
    }


def milliseconds(step: Callable[[], object]) -> float:
    """Median of a few runs, after one to warm up."""
    step()
    spans = []
    for _ in range(REPEATS):
        begun = time.perf_counter()
        step()
        spans.append(1e3 * (time.perf_counter() - begun))
    return round(median(spans), 4)
