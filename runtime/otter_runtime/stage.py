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
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from otter_robots import endpoints
from otter_robots.client import Client
from otter_robots.envelope import Envelope
from otter_robots.messages import Message, Status
from otter_robots.topics import ANSWER, FAULT, STATUS
from otter_runtime.errors import OtterError, UserError

POLL_S = 0.2
WAIT_S = 20.0  # the run waits so long for our subscription before its first frame
END_S = 10.0

Heard = tuple[Envelope, Message]


def heard(words: Sequence[str]) -> Iterator[Heard]:
    """What a run with these arguments publishes, as it comes, until it says that it ended.

    Raises UserError with the run's own sentence where it refuses its arguments.
    """
    # Short, because a socket's path may have 107 bytes.
    with tempfile.TemporaryDirectory(prefix="otter-") as name:
        folder = Path(name)
        with Client(endpoints.stream_endpoint(folder), endpoints.requests_endpoint(folder)) as bus:
            bus.subscribe([STATUS, FAULT, ANSWER])
            with running([*words, "--wait", str(WAIT_S)], folder) as process:
                yield from _until_ended(bus, process)
                _check(process, folder)


def _until_ended(bus: Client, process: subprocess.Popen[bytes]) -> Iterator[Heard]:
    silent_after_the_end = False
    while not silent_after_the_end:
        over = process.poll() is not None
        item = bus.receive(POLL_S)
        if item is not None:
            yield item
            if isinstance(item[1], Status) and item[1].state == "ended":
                return
        silent_after_the_end = over and item is None


@contextmanager
def running(words: Sequence[str], folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """`otter-edge run` with these arguments, its bus in `folder`; ended with the block."""
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
    try:
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _check(process: subprocess.Popen[bytes], folder: Path) -> None:
    try:
        code = process.wait(END_S)
    except subprocess.TimeoutExpired:
        return  # it said that it ended; being slow about it is not the subscriber's business
    if code:
        last = (folder / "stderr").read_text(errors="replace").strip().splitlines()[-1:]
        sentence = last[0].removeprefix("otter-edge: ") if last else f"exit code {code}"
        raise (UserError if code == UserError.exit_code else OtterError)(
            f"the run failed: {sentence}"
        )
