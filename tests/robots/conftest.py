"""A real publisher in a process of its own, for whoever listens to it here."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NamedTuple

import pytest

PUBLISHER = Path(__file__).parents[1] / "runtime" / "bus_process.py"


class Publisher(NamedTuple):
    """A running `bus_process.py` and where it listens."""

    process: subprocess.Popen[str]
    stream: str
    requests: str
    journal: Path

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


Publish = Callable[..., AbstractContextManager[Publisher]]


@pytest.fixture
def publish(tmp_path: Path) -> Publish:
    """`with publish("--every-ms", "1") as publisher:`, always at the same two addresses."""

    @contextlib.contextmanager
    def start(*options: str) -> Iterator[Publisher]:
        journal = tmp_path / "journal.db"
        words = [f"ipc://{tmp_path}/s", f"ipc://{tmp_path}/r", str(journal), *options]
        process = subprocess.Popen(
            [sys.executable, str(PUBLISHER), *words], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        bound = json.loads(process.stdout.readline())
        publisher = Publisher(process, bound["stream"], bound["requests"], journal)
        try:
            yield publisher
        finally:
            publisher.kill()

    return start
