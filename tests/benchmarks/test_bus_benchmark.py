"""The bus benchmark, tiny: three transports, nothing missed, what was journalled is on disk."""

from __future__ import annotations

import json

import bus
import pytest


def test_every_transport_is_measured_and_nothing_is_missed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ["--messages", "20", "--answers", "400", "--deltas", "500", "--seconds", "0.5"]
    assert bus.main(words) == 0
    *shown, last = capsys.readouterr().out.splitlines()
    report = json.loads(last)
    for topic in ("answer", "delta"):
        assert set(report["latency_ms"][topic]) == {"ipc", "tcp", "curve"}
        for one in report["latency_ms"][topic].values():
            assert one["runs"] == 20
            assert 0 < one["p50_ms"] <= one["p99_ms"]
        rate = report["sustained"][topic]
        assert rate["published"] == rate["received"] > 0
        assert rate["missed"] == 0
    answers = report["sustained"]["answer"]
    assert answers["journalled"] == answers["published"]
    assert answers["turn_ms"]["runs"] < answers["published"] / 2  # in batches
    assert "curve_costs_ms" in report
    assert any(line.startswith("delta curve") for line in shown)
