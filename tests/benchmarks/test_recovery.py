"""The recovery benchmark on the real processes: a brain that is killed, and one that is stopped.

pytest -m slow tests/benchmarks/test_recovery.py        about half a minute
"""

from __future__ import annotations

import json

import pytest
import recovery


@pytest.mark.slow
def test_a_brain_that_is_killed_or_stopped_is_timed(capsys: pytest.CaptureFixture[str]) -> None:
    recovery.main(["--rounds", "2", "--json"])
    told = json.loads(capsys.readouterr().out)
    assert [one["how"] for one in told["rounds"]] == ["SIGKILL", "SIGSTOP"]
    for one in told["rounds"]:
        assert 0 < one["fault_s"] < one["back_s"] < one["answer_s"]
    assert told["worst_s"] == max(one["answer_s"] for one in told["rounds"])
    assert told["held"] == (told["worst_s"] <= told["limit_s"] == recovery.POCKET_S)
    assert told["cold_start_s"] > 0
