"""A window that slid far: the same engine calls and answers as a young one, and no more memory.

pytest -m slow tests/benchmarks/test_flat_cost.py        10,000 frames, about a minute
"""

from __future__ import annotations

import json
import subprocess
import sys

import flat_cost
import pytest


@pytest.mark.parametrize("frames", [60, pytest.param(10_000, marks=pytest.mark.slow)])
def test_what_a_window_costs_does_not_depend_on_how_far_it_slid(frames: int) -> None:
    words = [sys.executable, flat_cost.__file__, "--frames", str(frames), "--rounds", "12"]
    done = subprocess.run([*words, "--json"], stdout=subprocess.PIPE, text=True, check=False)
    told = json.loads(done.stdout)
    assert told["frames"] == frames
    assert told["same_calls"]
    assert told["same_answers"]
    assert told["memory_flat"] or frames < 1000  # a young process still grows into its buffers


def test_another_number_of_calls_is_noticed() -> None:
    class Engine:
        def prefill(self, cache: object, ids: list[int]) -> None:
            pass

    counted = flat_cost.Counted(Engine())  # type: ignore[arg-type]
    counted.prefill(None, [1, 2, 3])
    counted.prefill(None, [1, 2, 3])
    assert counted.calls == {"prefill 3": 2}
