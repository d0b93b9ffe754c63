"""A run of its own, and what it says: `otter-edge run` as a child, heard over its bus.

It knows processes and a subscriber; it does not know what the messages are about. The folder with
sockets and journal is temporary and goes with the run.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from otter_robots import endpoints
from otter_robots.client import Client
from otter_robots.envelope import Envelope
from otter_robots.errors import NoAnswer, NobodyListening
from otter_robots.messages import Message, Status
from otter_robots.topics import ANSWER, FAULT, STATUS
from otter_runtime.errors import OtterError, UserError

POLL_S = 0.2
WAIT_S = 20.0  # the run waits so long for our subscription before its first frame
END_S = 30.0  # a recording may have to be finished, on a busy machine
AGAIN_S = 0.05  # between two tries of whoever waits for something of a run

Heard = tuple[Envelope, Message]
T = TypeVar("T")


@dataclass(frozen=True)
class Run:
    """A run that was started, its sockets, its journal and its complaints in `folder`."""

    process: subprocess.Popen[bytes]
    folder: Path

    @property
    def pid(self) -> int:
        """The front's process."""
        return self.process.pid

    @property
    def over(self) -> bool:
        """Whether it has ended."""
        return self.process.poll() is not None

    def check(self) -> None:
        """Raise the run's own sentence where it has failed: UserError if a user can help it."""
        if code := self.process.poll():
            last = (self.folder / "stderr").read_text(errors="replace").strip().splitlines()[-1:]
            sentence = last[0].removeprefix("otter-edge: ") if last else f"exit code {code}"
            raise (UserError if code == UserError.exit_code else OtterError)(
                f"the run failed: {sentence}"
            )

    def wait_for(self, what: str, done: Callable[[], T | None], patience_s: float) -> T:
        """What `done` gives, tried until it gives something; nobody may listen meanwhile.

        Raises the run's own sentence as soon as it failed, and OtterError where it ended well, or
        `patience_s` passed, without `what`.
        """
        end_s = time.monotonic() + patience_s
        while not self.over and time.monotonic() < end_s:
            try:
                if given := done():
                    return given
            except (NobodyListening, NoAnswer):
                continue
            time.sleep(AGAIN_S)
        self.check()
        raise OtterError(f"there was no {what} within {patience_s:g} s, or before the run ended")


def heard(words: Sequence[str]) -> Iterator[Heard]:
    """What a run with these arguments publishes, as it comes, until it says that it ended.

    Raises UserError with the run's own sentence where it refuses its arguments.
    """
    # Short, because a socket's path may have 107 bytes.
    with tempfile.TemporaryDirectory(prefix="otter-") as name:
        folder = Path(name)
        with Client(endpoints.stream_endpoint(folder), endpoints.requests_endpoint(folder)) as bus:
            bus.subscribe([STATUS, FAULT, ANSWER])
            with running([*words, "--wait", str(WAIT_S)], folder) as run:
                yield from _until_ended(bus, run)
                # It said that it ended; being slow about it is not the subscriber's business.
                with suppress(subprocess.TimeoutExpired):
                    run.process.wait(END_S)
                run.check()


def _until_ended(bus: Client, run: Run) -> Iterator[Heard]:
    silent_after_the_end = False
    while not silent_after_the_end:
        over = run.over
        item = bus.receive(POLL_S)
        if item is not None:
            yield item
            if isinstance(item[1], Status) and item[1].state == "ended":
                return
        silent_after_the_end = over and item is None


@contextmanager
def running(words: Sequence[str], folder: Path) -> Iterator[Run]:
    """`otter-edge run` with these arguments, its bus in `folder`; ended with the block.

    Where the block raises an OtterError because the run has failed, the run's own sentence takes
    its place.
    """
    command = [sys.executable, "-m", "otter_runtime", "run", *words]
    with (folder / "stderr").open("wb") as complaints:
        process = subprocess.Popen(
            [*command, "--folder", str(folder)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=complaints,
            # A file in the current folder must not stand in for a module.
            env={**os.environ, "PYTHONSAFEPATH": "1"},
        )
    run = Run(process, folder)
    try:
        yield run
    except OtterError:
        run.check()  # says more than that nobody listens
        raise
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
