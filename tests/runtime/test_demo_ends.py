"""A demo that is told to end takes the run that it started with it."""

from __future__ import annotations

import signal
import subprocess
import sys

import psutil
import pytest


@pytest.mark.parametrize("told", [signal.SIGTERM, signal.SIGINT])
def test_the_run_ends_with_the_demo(told: signal.Signals) -> None:
    command = [sys.executable, "-m", "otter_runtime", "demo", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as demo:
        assert demo.stdout is not None
        assert '"answer"' in demo.stdout.readline()
        children = psutil.Process(demo.pid).children(recursive=True)
        assert len(children) >= 2  # front and brain
        demo.send_signal(told)
        assert demo.wait(20) == 130
    _, alive = psutil.wait_procs(children, timeout=5)
    assert alive == []
