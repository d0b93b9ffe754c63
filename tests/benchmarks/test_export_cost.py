"""The benchmark of an export's cost, on a tiny checkpoint: stages, memory, sizes, one JSON line."""

from __future__ import annotations

import json
from pathlib import Path

import export_cost
import pytest

from otter_model.checkpoint import save
from otter_model.tiny import tiny_checkpoint


def test_it_watches_an_export(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    save(tiny_checkpoint("mpt").build(), tmp_path / "tiny")
    words = [str(tmp_path / "tiny"), "--precision", "fp32", "-o", str(tmp_path / "bundle")]
    assert export_cost.main(["--", *words]) == 0
    *_, line = capfd.readouterr().out.splitlines()
    told = json.loads(line)
    assert {"fp32 vision", "fp32 decoder", "verification"} <= set(told["stages"])
    assert told["peak_gb"] > 0.05
    assert told["bytes"]["decoder"] > 0
    assert told["plan_bytes"]["decoder"] == pytest.approx(told["bytes"]["decoder"], rel=0.03)


def test_an_export_that_fails_is_not_told_of(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert export_cost.main(["--", str(tmp_path / "none"), "-o", str(tmp_path / "b")]) == 2
    assert "does not exist" in capfd.readouterr().err
