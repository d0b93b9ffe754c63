"""How a benchmark ends: with its report, an error's sentence, or because it is told to."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import outcome
import pytest
from outcome import tell

from otter_robots.errors import OtterError, UserError
from otter_robots.interrupt import INTERRUPTED

MEASURES_FOR_EVER = """
import sys, time
from pathlib import Path
from outcome import tell
from otter_runtime.stage import running

def measured():
    with running(["--source", "bus"], Path(sys.argv[1])) as run:
        print(run.pid, flush=True)
        time.sleep(60)

sys.exit(tell(measured, str, json_alone=True))
"""


@pytest.mark.parametrize(("held", "code"), [(True, 0), (False, 1)])
def test_the_last_line_is_the_report_and_the_code_says_whether_it_holds(
    held: bool, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tell(lambda: {"a": 1}, lambda _: "a table", lambda _: held, json_alone=False) == code
    table, report = capsys.readouterr().out.splitlines()
    assert (table, json.loads(report)) == ("a table", {"a": 1})


@pytest.mark.parametrize("error", [OtterError("it broke"), UserError("no such thing")])
def test_an_error_is_a_sentence_and_its_own_code(
    error: OtterError, capsys: pytest.CaptureFixture[str]
) -> None:
    def measured() -> dict[str, Any]:
        raise error

    assert tell(measured, str, json_alone=True) == error.exit_code
    told = capsys.readouterr()
    assert (told.out, told.err) == ("", f"{error}\n")


@pytest.mark.parametrize("told", [signal.SIGINT, signal.SIGTERM])
def test_what_is_measured_ends_with_it(told: signal.Signals, tmp_path: Path) -> None:
    command = [sys.executable, "-c", MEASURES_FOR_EVER, str(tmp_path)]
    beside = Path(outcome.__file__).parent
    with subprocess.Popen(command, cwd=beside, stdout=subprocess.PIPE, text=True) as benchmark:
        assert benchmark.stdout
        run = int(benchmark.stdout.readline())
        os.kill(run, 0)
        benchmark.send_signal(told)
        assert benchmark.wait(timeout=60) == INTERRUPTED
    with pytest.raises(ProcessLookupError):
        os.kill(run, 0)
