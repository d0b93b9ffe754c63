"""The log of a run: everything that is published, one JSON object per line, but no deltas.

A thread writes; the front's only hands over. Where the disk is slower than the news, lines are
dropped and counted, and the count is a line of its own. It knows messages as JSON has them and
files; it does not know what they say.
"""

from __future__ import annotations

import os
import queue
import sys
import threading
import time
from io import FileIO
from pathlib import Path
from typing import BinaryIO

import msgspec

from otter_robots.envelope import Envelope, as_dict
from otter_robots.messages import AnswerDelta, Message
from otter_runtime.errors import UserError

WAITING = 4096  # lines; a few megabytes at most
CLOSE_S = 2.0
STDOUT = "-"

Item = tuple[Envelope, Message]


class Log:
    """Writes to `file`, or to the standard output where it is `-`.

    At `mb` megabytes `log.jsonl` becomes `log.1.jsonl`, that one `log.2.jsonl`, up to `keep`.
    `dropped` counts what was not written. Raises UserError for a file that cannot be opened.
    """

    def __init__(self, file: str, mb: float = 10.0, keep: int = 3) -> None:
        self.dropped = 0
        self._path = None if file == STDOUT else Path(file)
        self._most_bytes, self._keep = round(mb * 1e6), keep
        self._file: FileIO | BinaryIO | None = None
        self._torn = False  # the last line is there in part
        try:
            self._file = self._open()
        except OSError as error:
            raise UserError(
                f"the log {file} cannot be written ({error.strerror}); give another file, or -"
            ) from error
        self._queue: queue.Queue[Item | None] = queue.Queue(WAITING)
        self._told = 0
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    def hear(self, envelope: Envelope, message: Message) -> None:
        """Something was published; never waits."""
        if isinstance(message, AnswerDelta):
            return
        try:
            self._queue.put_nowait((envelope, message))
        except queue.Full:
            self.dropped += 1

    def close(self) -> None:
        """Write what waits, for at most CLOSE_S; a disk that hangs keeps its thread."""
        try:
            self._queue.put(None, timeout=CLOSE_S)
        except queue.Full:
            return
        self._thread.join(CLOSE_S)

    def _run(self) -> None:
        while (item := self._queue.get()) is not None:
            self._write(msgspec.json.encode(as_dict(*item)))
            if self._queue.empty():
                self._tell_dropped()
        self._tell_dropped()
        self._shut()

    def _tell_dropped(self) -> None:
        dropped = self.dropped
        if dropped == self._told:
            return
        line = {
            "type": "Dropped",
            "count": dropped - self._told,
            "mono_ns": time.monotonic_ns(),
            "wall_ns": time.time_ns(),
        }
        if self._write(msgspec.json.encode(line)):
            self._told = dropped

    def _write(self, line: bytes) -> bool:
        """False where it is not there, or not whole."""
        whole = b"\n" * self._torn + line + b"\n"
        try:
            self._file = self._file or self._open()
            if self._path is not None and self._file.tell() >= self._most_bytes:
                self._rotate(self._path)
            wrote = self._file.write(whole)
            self._file.flush()
        except OSError:  # a full disk, a reader that left
            self._shut()
            wrote = 0
        if wrote:
            self._torn = wrote < len(whole)
        self.dropped += wrote < len(whole)
        return wrote == len(whole)

    def _open(self) -> FileIO | BinaryIO:
        if self._path is None:
            return sys.stdout.buffer
        self._path.parent.mkdir(parents=True, exist_ok=True)
        # Unbuffered: what a full disk did not take is known at once.
        return open(self._path, "ab", buffering=0, opener=_private)

    def _shut(self) -> None:
        if self._file is not None and self._path is not None:
            self._file.close()
            self._file = None

    def _rotate(self, path: Path) -> None:
        self._shut()
        for number in range(self._keep, 0, -1):
            earlier = aged(path, number - 1)
            if earlier.exists():
                earlier.replace(aged(path, number))
        if not self._keep:
            path.unlink(missing_ok=True)
        self._file = self._open()


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def aged(path: Path, number: int) -> Path:
    """`log.jsonl` as it is called after so many rotations: `log.2.jsonl`."""
    return path.with_name(f"{path.stem}.{number}{path.suffix}") if number else path
