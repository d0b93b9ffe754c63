"""The soak benchmark: what it makes of its samples, and a short run with every fault.

pytest -m slow tests/benchmarks/test_soak.py        a run of two processes, about a minute
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
import soak
from processes import Footprint, brain_of, footprint
from soak_day import HARMS

MATPLOTLIB = pytest.importorskip("matplotlib")


def samples(*resident_mib: float, pid: int = 7) -> list[Footprint]:
    return [Footprint(pid, mib, 10) for mib in resident_mib]


def test_memory_that_grows_late_is_found_and_an_early_rise_is_not() -> None:
    early = samples(50, *[100.0] * 20)
    assert soak.grown_mib(early) == 0
    assert soak.flat(soak.grown_mib(early), 100)
    late = samples(*range(100, 121))
    assert soak.grown_mib(late) == 18
    assert not soak.flat(18, 120)
    assert soak.flat(18, 2000)


def test_a_brain_is_held_to_its_own_life() -> None:
    brains = [*samples(90, 95, pid=1), *samples(10, 10, 11, pid=2), Footprint(0, 0.0, 0)]
    assert [one.resident_mib for one in soak.longest_life(brains)] == [10, 10, 11]


def test_a_process_that_is_gone_takes_nothing() -> None:
    assert footprint(1 << 30) == Footprint(1 << 30, 0.0, 0)
    assert brain_of(1 << 30) is None


@pytest.mark.slow
def test_a_run_survives_every_fault(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = {name: tmp_path / name for name in ("soak.png", "samples.jsonl")}
    words = ["--minutes", "0.7", "--faults", "40", "--plot", str(files["soak.png"]), "--json"]
    soak.main([*words, "--samples", str(files["samples.jsonl"])])
    told = json.loads(capsys.readouterr().out)
    assert told["faults"] >= len(HARMS)
    assert Counter(told["replies"])["answered"] > told["faults"]
    assert {"camera-black", "camera-stale", "brain-down"} <= set(told["replies"])
    assert told["descriptors_last"]["front"] <= told["descriptors_first"]["front"] + 4
    assert files["soak.png"].read_bytes().startswith(b"\x89PNG")
    assert len(files["samples.jsonl"].read_text().splitlines()) > 5
