"""The benchmark of recording measures what it says: both kinds of block, and nothing is lost."""

from __future__ import annotations

import tempfile
from pathlib import Path

import record


def test_a_short_measurement_has_both_ratios_and_all_parts() -> None:
    with tempfile.TemporaryDirectory(prefix="otter-") as name:  # short, for a socket's path
        row = record.measured(Path(name), pairs=2, block_s=0.1, frames=3, kind="png")
    assert row["pairs"] == 2
    assert int(row["frames"]) >= 12
    assert int(row["messages"]) > 0
    for part in record.PARTS:
        assert float(row[f"{part}_on_ms"]) > 0
    assert float(row["ratio_low"]) <= float(row["ratio"]) <= float(row["ratio_high"])
    assert float(row["cpu_ratio_low"]) <= float(row["cpu_ratio"]) <= float(row["cpu_ratio_high"])
