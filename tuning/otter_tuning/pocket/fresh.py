"""Pocket's world for `otter-edge verify`: right answers of a bundle and its fp32 twin, paired.

Episodes come from the evaluation seeds, which no training, calibration or steering touched.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from otter_runtime.bundle import Bundle
from otter_runtime.paired import paired
from otter_tuning.pocket.cases import planning_cases
from otter_tuning.pocket.data import render
from otter_tuning.pocket.evaluate import Answerer, accuracy
from otter_tuning.pocket.kinds import evaluation_seeds

Progress = Callable[[str, int, int], None]


def measure(
    bundle: Bundle, twin: Bundle, episodes: int, seed: int, progress: Progress
) -> dict[str, Any]:
    """Shares of right planning answers of both, their difference, its 95 % interval (McNemar).

    Every class is asked equally often, at most 1.2 questions of one class an episode.
    """
    progress("episodes", 0, 1)
    world = render(evaluation_seeds(seed, episodes), jpeg=False)
    progress("episodes", 1, 1)
    cases = planning_cases(world, max(1, 6 * episodes // 5), seed)
    right = []
    for name, made in (("fp32", twin), ("bundle", bundle)):
        told = accuracy(Answerer(made, world), cases, progress=partial(progress, f"{name} answers"))
        right.append([verdict for label in sorted(told) for verdict in told[label]])
    result = paired(*right)
    return {
        "planning_fp32": result.first,
        "planning_bundle": result.second,
        "difference": result.difference,
        "difference_low": result.low,
        "difference_high": result.high,
        "mcnemar_p": result.p_value,
        "questions": result.n,
        "episodes": episodes,
        "seed": seed,
    }
