"""What the service manager hears, over a real socket."""

from __future__ import annotations

import os
import socket
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from otter_runtime.notify import PINGS, Notifier, Progress, Watchdog


class Manager:
    """The other end."""

    def __init__(self, address: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address.replace("@", "\0", 1))
        self.socket.setblocking(False)

    def heard(self) -> list[str]:
        words = []
        while True:
            try:
                words.append(self.socket.recv(4096).decode())
            except BlockingIOError:
                return words


@pytest.fixture(params=["path", "abstract"])
def address(request: pytest.FixtureRequest) -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="otter-test-") as folder:
        abstract = f"@otter-test-{os.getpid()}-{time.monotonic_ns()}"
        yield abstract if request.param == "abstract" else str(Path(folder) / "notify")


@pytest.fixture
def manager(address: str) -> Iterator[Manager]:
    manager = Manager(address)
    yield manager
    manager.socket.close()


def test_the_words(manager: Manager, address: str) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": address})
    notifier.ready()
    notifier.status("pocket\nanswers")
    notifier.status("pocket\nanswers")
    notifier.alive()
    notifier.stopping()
    said = ["READY=1", "STATUS=pocket answers", "WATCHDOG=1", "STOPPING=1"]
    assert manager.heard() == said
    assert notifier.watchdog_s is None


def test_without_a_manager_nothing_happens() -> None:
    for environment in ({}, {"NOTIFY_SOCKET": "/nowhere/notify", "WATCHDOG_USEC": "x"}):
        notifier = Notifier(environment)
        notifier.ready()
        assert notifier.watchdog_s is None


def test_whose_watchdog_it_is() -> None:
    there = {"NOTIFY_SOCKET": "/nowhere", "WATCHDOG_USEC": "10000000"}
    assert Notifier(there).watchdog_s == 10
    assert Notifier(there | {"WATCHDOG_PID": str(os.getpid())}).watchdog_s == 10
    assert Notifier(there | {"WATCHDOG_PID": "1"}).watchdog_s is None


def test_progress_is_a_frame_and_a_word() -> None:
    progress = Progress(start_s=100)

    def made(frames: int, words: int, waiting: bool = False, starting: bool = False) -> bool:
        return progress.made(frames=frames, words=words, waiting=waiting, starting=starting)

    assert made(1, 1)
    assert not made(1, 1)
    assert not made(2, 1)  # frames, but the brain is silent
    assert not made(1, 2)  # the brain talks, but the camera's driver hangs
    assert made(2, 2)
    assert made(2, 3, waiting=True)  # a camera that is known to be lost
    assert made(3, 3, starting=True)  # a brain that is being started
    assert made(3, 3, waiting=True, starting=True)


def test_a_brain_that_never_comes_up_is_no_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now_s)
    progress = Progress(start_s=100)

    def made() -> bool:
        return progress.made(frames=0, words=0, waiting=True, starting=True)

    assert made()
    now_s += 99
    assert made()
    now_s += 2
    assert not made()


def test_the_watchdog_hears_of_progress_only_and_not_too_often(
    manager: Manager, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now_s)
    notifier = Notifier({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "10000000"})
    watchdog = Watchdog(notifier, Progress(start_s=100))
    for turn in range(200):  # 10 s of turns
        now_s += 0.05
        watchdog.turn(frames=turn, words=turn, waiting=False, starting=False)
    assert manager.heard() == ["WATCHDOG=1"] * PINGS
    for _ in range(2000):
        now_s += 0.05
        watchdog.turn(frames=200, words=200, waiting=False, starting=False)
    assert manager.heard() == ["WATCHDOG=1"]  # for what moved since the last
    watchdog.turn(frames=201, words=201, waiting=False, starting=False)
    assert manager.heard() == ["WATCHDOG=1"]
