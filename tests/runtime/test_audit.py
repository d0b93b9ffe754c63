"""The audit only grows, stays bounded, survives a torn line and a full disk, and is shown."""

from __future__ import annotations

import json
import stat
import time
from pathlib import Path

import pytest

from otter_robots.client import Client
from otter_robots.messages import Fault
from otter_robots.topics import FAULT
from otter_runtime import audit, cli
from otter_runtime.audit import Audit
from otter_runtime.bus import Bus
from otter_runtime.journal import Journal


def test_lines_are_kept_in_order_across_runs(tmp_path: Path) -> None:
    for run in ("one", "two"):
        log = Audit(tmp_path / "deep")
        log.epoch = run
        log.note("order", client="arm", detail="stop")
        log.note("denied", key="k" * 40, address="192.0.2.1")
    entries = audit.read(tmp_path / "deep")
    assert [(e.epoch, e.what) for e in entries] == [
        ("one", "order"), ("one", "denied"), ("two", "order"), ("two", "denied")
    ]  # fmt: skip
    assert all(entry.wall_ns > 1e18 and entry.mono_ns > 0 for entry in entries)
    assert stat.S_IMODE((tmp_path / "deep" / "audit.jsonl").stat().st_mode) == 0o600


def test_a_line_that_was_cut_off_costs_itself(tmp_path: Path) -> None:
    log = Audit(tmp_path)
    log.note("order", detail="one")
    with (tmp_path / "audit.jsonl").open("ab") as file:
        file.write(b'{"wall_ns": 12, "mono')
    log.note("order", detail="two")
    assert [entry.detail for entry in audit.read(tmp_path)] == ["one", "two"]


def test_it_is_bounded_and_keeps_the_newest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "MOST_BYTES", 5_000)
    log = Audit(tmp_path)
    for number in range(200):
        log.note("order", detail=f"command {number}")
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 10_500
    details = [entry.detail for entry in audit.read(tmp_path)]
    assert details == [f"command {number}" for number in range(200 - len(details), 200)]
    assert len(details) > 30


def test_who_knocks_again_and_again_gets_a_line_a_minute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = Audit(tmp_path)
    now_s = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now_s[0])
    for _ in range(100):
        log.note_now_and_then("denied", address="192.0.2.1")
        log.note_now_and_then("denied", address="192.0.2.2")
    now_s[0] += 61
    log.note_now_and_then("denied", address="192.0.2.1")
    entries = audit.read(tmp_path)
    assert [(e.address, e.times) for e in entries] == [
        ("192.0.2.1", 1), ("192.0.2.2", 1), ("192.0.2.1", 100)
    ]  # fmt: skip


def test_a_full_disk_is_a_fault_and_the_order_is_carried_out(tmp_path: Path) -> None:
    blocked = tmp_path / "blocked"
    blocked.mkdir()
    (blocked / "audit.jsonl").mkdir()  # no file can be written here
    endpoints = (f"ipc://{tmp_path}/s", f"ipc://{tmp_path}/r")
    with Bus(*endpoints, Journal(blocked / "j.db")) as bus, Client(*endpoints) as client:
        client.subscribe([FAULT])
        while not bus.subscribed(FAULT):
            bus.poll(50)
        bus.audit.note("order", detail="stop")
        bus.poll(0)
        (blocked / "audit.jsonl").rmdir()
        bus.audit.note("order", detail="resume")
        bus.poll(0)
        faults = [message for _, message in client.messages([FAULT], 1.0)]
    assert [(f.code, f.cleared) for f in faults if isinstance(f, Fault)] == [
        ("audit", False), ("audit", True)
    ]  # fmt: skip


def test_the_command_shows_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = Audit(tmp_path)
    log.note("connected", client="arm", key="k" * 40, address="192.0.2.1")
    log.note("order", client="arm", detail="stop \x1b[31m")
    log.note("denied", key="z" * 40, address="192.0.2.7", times=9)

    def run(*words: str) -> list[str]:
        assert cli.main(["audit", "--folder", str(tmp_path), *words]) == 0
        return capsys.readouterr().out.splitlines()

    assert [json.loads(line)["what"] for line in run("--json")] == ["connected", "order", "denied"]
    lines = run("--last", "2")
    assert "arm  stop" in lines[0]
    assert "\x1b" not in lines[0]
    assert lines[1].endswith("denied     key zzzzzzzz...  192.0.2.7 (9 times)")


def test_where_nothing_is_kept_it_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["audit", "--folder", str(tmp_path)]) == 2
    assert "no audit" in capsys.readouterr().err
