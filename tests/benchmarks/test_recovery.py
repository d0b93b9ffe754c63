"""The recovery benchmark on the real processes: a brain that is killed, and one that is stopped.

Where the run itself has ended, every benchmark that started one says so, in the run's own sentence.

pytest -m slow tests/benchmarks/test_recovery.py        about half a minute
"""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
import recovery
import soak
from tests.conftest import TinyBundle


@pytest.mark.parametrize("main", [recovery.main, soak.main])
def test_a_run_that_has_ended_is_noticed(
    main: Callable[[list[str]], int], tiny_bundle: TinyBundle, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--bundle", str(tiny_bundle("mpt", "int8"))]) == 2  # it has no tokenizer
    told = capsys.readouterr()
    assert "has no tokenizer" in told.err
    assert not told.out


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
