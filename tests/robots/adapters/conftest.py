"""Processes for the adapters' tests: a runtime on a real bus, adapters, and their robots.

Each prints one JSON object per line; a test waits for the line it is about.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
# Generous: the machine may be busy with much else.
PATIENCE_S = 60.0

Event = dict[str, Any]


class Process:
    """A child whose lines are collected as they come."""

    def __init__(self, *command: str) -> None:
        self.events: list[Event] = []
        self.other: list[str] = []
        self._changed = threading.Condition()
        self._ended = False
        self.child = subprocess.Popen(
            [sys.executable, *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def wait(self, wanted: Callable[[Event], object], since: int = 0) -> Event:
        """The first event after the `since` first ones that is wanted."""

        def found() -> Event | None:
            return next((one for one in self.events[since:] if wanted(one)), None)

        with self._changed:
            self._changed.wait_for(lambda: found() is not None or self._ended, PATIENCE_S)
            event = found()
        assert event is not None, f"it never came:\n{self.told()}"
        return event

    def told(self) -> str:
        """What the child wrote last, for a failed assertion."""
        lines = [*map(str, self.events[-20:]), *(line for line in self.other if line.strip())]
        return "\n".join(lines)

    def tell(self, **order: Any) -> None:
        """Write one line to the child."""
        assert self.child.stdin is not None
        self.child.stdin.write(json.dumps(order) + "\n")
        self.child.stdin.flush()

    def end(self) -> int:
        """Ask it to end, and give its exit code."""
        self.child.terminate()
        return self.child.wait(PATIENCE_S)

    def close(self) -> None:
        self.child.kill()
        self.child.wait()
        self._reader.join()
        for pipe in (self.child.stdin, self.child.stdout):
            assert pipe is not None
            with contextlib.suppress(BrokenPipeError):
                pipe.close()

    def _read(self) -> None:
        assert self.child.stdout is not None
        for line in self.child.stdout:
            with self._changed:
                try:
                    self.events.append(json.loads(line))
                except ValueError:
                    self.other.append(line)
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()


Start = Callable[..., Process]


@pytest.fixture
def start() -> Iterator[Start]:
    """`start("-m", "package")` is a running Process, ended with the test."""
    with contextlib.ExitStack() as opened:

        def begin(*command: str) -> Process:
            process = Process(*command)
            opened.callback(process.close)
            return process

        yield begin


@pytest.fixture
def runtime(start: Start, tmp_path: Path) -> Process:
    """A runtime that publishes what it is told on the bus in `tmp_path`."""
    process = start(str(HERE / "runtime_process.py"), str(tmp_path))
    process.wait(lambda event: event["event"] == "bound")
    return process
