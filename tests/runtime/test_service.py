"""The unit file: systemd takes it, and it starts a command that exists."""

from __future__ import annotations

import argparse
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from otter_runtime.commands import run

UNIT = Path(__file__).parents[2] / "configs" / "systemd" / "otter-edge.service"


def settings() -> dict[str, str]:
    lines = [line for line in UNIT.read_text().splitlines() if "=" in line and line[0] != "#"]
    return dict(line.split("=", 1) for line in lines)


def test_it_is_watched_and_restarted() -> None:
    said = settings()
    assert said["Type"] == "notify"
    assert said["NotifyAccess"] == "main"
    # Twice what the front takes to find out that the brain hangs, and pocket's restart.
    assert int(said["WatchdogSec"]) >= 10
    assert said["Restart"] == "on-failure"
    assert {"MemoryMax", "StartLimitBurst", "ProtectSystem", "NoNewPrivileges"} <= set(said)


def test_its_command_exists_with_its_options() -> None:
    program, command, *words = shlex.split(settings()["ExecStart"])
    assert (Path(program).name, command) == ("otter-edge", "run")
    parser = argparse.ArgumentParser()
    run.add_arguments(parser)
    assert parser.parse_args(words).log == "-"


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="no systemd here")
def test_systemd_takes_it(tmp_path: Path) -> None:
    copy = tmp_path / UNIT.name
    copy.write_text(UNIT.read_text().replace("/opt/otter-edge/bin/otter-edge", sys.executable))
    done = subprocess.run(
        ["systemd-analyze", "verify", str(copy)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
