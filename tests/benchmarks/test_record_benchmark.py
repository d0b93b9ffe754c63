"""The benchmark of recording measures what it says: both kinds of block, and nothing is lost."""

from __future__ import annotations

import json

import pytest
import record


@pytest.mark.parametrize("words", [[], ["--lock-step"]], ids=["live", "lock-step"])
def test_a_short_measurement_has_both_ratios_and_all_parts(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    short = ["--pairs", "2", "--block", "0.1", "--least", "3"]
    assert record.main([*short, *words]) in (0, 1)  # how fast it is, is not tested
    told, _, line = capsys.readouterr().out.rstrip().rpartition("\n")
    row = json.loads(line)
    assert ("frames/s" if words else "pieces/s") in told
    assert row["pairs"] == 2
    assert row["frames" if words else "answers"] >= 12
    assert row["messages"] > 0
    for part in record.PARTS:
        assert row[f"{part}_on_ms"] > 0
    assert row["ratio_low"] <= row["ratio"] <= row["ratio_high"]
    assert row["held"] == (row["ratio"] >= record.LEAST_RATIO)
    assert row["cpu_ratio_low"] <= row["cpu_ratio"] <= row["cpu_ratio_high"]
