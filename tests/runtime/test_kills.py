"""SIGKILL of the publisher while it answers, SIGSTOP and SIGKILL of a subscriber: nothing is lost.

What the subscriber kept is what was journalled, in order and once, and whatever anybody received
is among it. In full:

    pytest -m slow tests/runtime/test_kills.py
"""

from __future__ import annotations

import contextlib
import json
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import otter_runtime
from otter_robots import endpoints
from otter_robots.client import Client
from otter_robots.envelope import Envelope, unpack
from otter_robots.errors import NoAnswer, NobodyListening
from otter_robots.messages import Message
from otter_robots.topics import ANSWER
from otter_runtime.journal import Journal

KEEPER = Path(__file__).with_name("keeper_process.py")
CLIPS = sorted((Path(otter_runtime.__file__).parent / "pocket" / "clip").glob("*.avi"))
PLAN = "What should I do next?"
PATIENCE_S = 60.0

Line = tuple[str, int, str]  # epoch, seq, text


def line(envelope: Envelope, message: Message) -> Line:
    return envelope.epoch, envelope.seq, getattr(message, "text", "")


class Keeper:
    """A `keeper_process.py` that is stopped, killed and started again."""

    def __init__(self, stream: str, requests: str, file: Path) -> None:
        self.file = file
        self._words = [sys.executable, str(KEEPER), stream, requests, str(file)]
        self._process = subprocess.Popen(self._words)

    def suffer(self, dice: random.Random) -> None:
        """Killed, stopped for a while, or left in peace."""
        fate = dice.choice(("killed", "stopped", "left in peace"))
        if fate == "killed":
            self.kill()
            self._process = subprocess.Popen(self._words)
        elif fate == "stopped":
            self._process.send_signal(signal.SIGSTOP)
            time.sleep(dice.uniform(0, 1.2))  # the heartbeat's timeout is 0.9 s
            self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    @property
    def kept(self) -> list[Line]:
        lines = self.file.read_bytes().splitlines() if self.file.exists() else []
        return [(epoch, seq, said) for epoch, seq, said in map(json.loads, lines)]


def journalled(path: Path) -> list[Line]:
    """What is on disk, which no crash has damaged."""
    with sqlite3.connect(path) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    db.close()
    journal = Journal(path)
    rows = [row.envelope for row in journal.after("answer")]
    journal.close()
    return [line(*unpack(data)) for data in rows if data]


def listen(bus: Client, received: set[Line], until: Callable[[], bool]) -> None:
    """Take what comes until `until`, then what is on its way still."""
    patience_s = time.monotonic() + PATIENCE_S
    while not until() and time.monotonic() < patience_s:
        if (one := bus.receive(0.05)) is not None:
            received.add(line(*one))


def wait_for(condition: Callable[[], bool]) -> None:
    until_s = time.monotonic() + PATIENCE_S
    while not condition() and time.monotonic() < until_s:
        time.sleep(0.1)


@pytest.mark.parametrize("rounds", [3, pytest.param(50, marks=pytest.mark.slow)])
def test_recovered_is_journalled_and_all_that_was_received(
    rounds: int, publish: Any, tmp_path: Path
) -> None:
    dice = random.Random(rounds)
    received: set[Line] = set()
    stream, requests = f"ipc://{tmp_path}/s", f"ipc://{tmp_path}/r"
    keeper = Keeper(stream, requests, tmp_path / "kept")
    try:
        with Client(stream, requests) as live:
            live.subscribe([ANSWER])
            for _ in range(rounds):
                with publish("--every-ms", "1", "--answers", "3") as publisher:
                    before = {epoch for epoch, *_ in received}
                    listen(live, received, lambda: {epoch for epoch, *_ in received} > before)  # noqa: B023
                    envelope, reply = live.ask_sealed("Where?", PATIENCE_S)
                    received.add(line(envelope, reply))
                    keeper.suffer(dice)
                    end_s = time.monotonic() + dice.uniform(0, 0.3)
                    listen(live, received, lambda: time.monotonic() > end_s)  # noqa: B023
                    publisher.kill()
            with publish("--ticks", "0") as publisher:
                while (one := live.receive(0.2)) is not None:
                    received.add(line(*one))
                kept = journalled(publisher.journal)
                wait_for(lambda: len(keeper.kept) >= len(kept))
    finally:
        keeper.kill()
    assert keeper.kept == kept
    assert received <= set(kept)
    assert len({epoch for epoch, *_ in received}) == rounds


def started(folder: Path, *words: str) -> subprocess.Popen[bytes]:
    """`otter-edge run` with the pocket model."""
    command = [sys.executable, "-m", "otter_runtime", "run", "--folder", str(folder), *words]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def children(pid: int) -> list[Path]:
    return [
        Path("/proc") / one for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    ]


@pytest.mark.slow
def test_the_same_with_the_whole_runtime(tmp_path: Path) -> None:
    """Five times `otter-edge run` with the pocket model, killed while it answers."""
    dice = random.Random(5)
    received: set[Line] = set()
    stream, requests = endpoints.stream_endpoint(tmp_path), endpoints.requests_endpoint(tmp_path)
    keeper = Keeper(stream, requests, tmp_path / "kept")
    answering = ("--source", *map(str, CLIPS), "--instruction", PLAN, "--interval", "0.25")
    try:
        with Client(stream, requests) as live:
            live.subscribe([ANSWER])
            for _ in range(5):
                runtime = started(tmp_path, *answering)
                before = {epoch for epoch, *_ in received}
                listen(live, received, lambda: {epoch for epoch, *_ in received} > before)  # noqa: B023
                brains = children(runtime.pid)
                keeper.suffer(dice)
                with contextlib.suppress(NoAnswer, NobodyListening):
                    asked = live.ask_sealed("Where is the red box?", dice.uniform(0.05, 1.5))
                    received.add(line(*asked))
                runtime.kill()
                runtime.wait()
                assert brains
                wait_for(lambda: not any(map(Path.exists, brains)))  # noqa: B023
                assert not any(map(Path.exists, brains))
            while (one := live.receive(0.2)) is not None:
                received.add(line(*one))
            kept = journalled(tmp_path / "journal.sqlite")
            runtime = started(tmp_path, "--source", "bus")
            wait_for(lambda: len(keeper.kept) >= len(kept))
            runtime.kill()
            runtime.wait()
    finally:
        keeper.kill()
    assert keeper.kept == kept
    assert received <= set(kept)
    assert len({epoch for epoch, *_ in received}) == 5
