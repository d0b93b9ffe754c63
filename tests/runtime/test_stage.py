"""Who waits for something of a run learns at once that it has ended, and why."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from otter_robots.errors import NobodyListening
from otter_runtime.errors import OtterError, UserError
from otter_runtime.stage import Run

PATIENCE_S = 120.0
Begin = Callable[[str], Run]


@pytest.fixture
def begin(tmp_path: Path) -> Begin:
    """A child that does this, in the place of a run."""

    def started(code: str) -> Run:
        with (tmp_path / "stderr").open("wb") as complaints:
            child = subprocess.Popen([sys.executable, "-c", code], stderr=complaints)
        return Run(child, tmp_path)

    return started


def unheard() -> None:
    raise NobodyListening("ipc:///nowhere", 0.1)


@pytest.mark.parametrize(("code", "kind"), [(1, OtterError), (2, UserError)])
@pytest.mark.parametrize("done", [unheard, lambda: None])
def test_its_own_sentence_is_told(
    begin: Begin, code: int, kind: type[OtterError], done: Callable[[], None]
) -> None:
    run = begin(f"import sys; sys.stderr.write('otter-edge: no, because\\n'); sys.exit({code})")
    with pytest.raises(OtterError, match=r"^the run failed: no, because$") as told:
        run.wait_for("answer", done, PATIENCE_S)
    assert type(told.value) is kind


def test_one_that_ended_well_gave_nothing_either(begin: Begin) -> None:
    with pytest.raises(OtterError, match=r"there was no answer within"):
        begin("").wait_for("answer", lambda: None, PATIENCE_S)


def test_patience_has_an_end_and_what_comes_is_given(begin: Begin) -> None:
    run = begin("import time; time.sleep(600)")
    given = iter([None, 7.0])
    assert run.wait_for("answer", lambda: next(given), PATIENCE_S) == 7.0
    with pytest.raises(OtterError, match=r"no answer within 0\.1 s"):
        run.wait_for("answer", lambda: None, 0.1)
    run.process.kill()
    run.process.wait()
    with pytest.raises(OtterError, match="exit code -9"):
        run.check()
