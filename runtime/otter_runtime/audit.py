"""Who connected, who was turned away, and who ordered what: a file that only grows, and is bounded.

One JSON object per line, on disk before what it tells of has an effect. The file is beside the
journal, where `otter-edge audit` reads it. At `MOST_BYTES` it becomes `audit.1.jsonl` and a new
one begins. It knows neither sockets nor keys.

A stranger may knock as often as it likes: its address gets one line a minute, with how often.
"""

from __future__ import annotations

import os
import time
from collections import OrderedDict
from pathlib import Path
from typing import Literal

import msgspec

from otter_runtime.durable import sync_folder

NAME, EARLIER = "audit.jsonl", "audit.1.jsonl"
MOST_BYTES = 16 << 20
PAUSE_S = 60.0
ADDRESSES = 256

What = Literal["connected", "denied", "refused", "order", "revoked"]


class Entry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A line: `times` is how often it happened since the last line like it."""

    wall_ns: int
    mono_ns: int
    epoch: str
    what: What
    client: str = ""
    key: str = ""
    address: str = ""
    detail: str = ""
    times: int = 1


class Audit:
    """One run's, called `epoch`. Where it cannot write, `trouble` says why and the run goes on."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / NAME
        self.epoch = ""
        self.trouble = ""
        self.denied = 0  # how often somebody was turned away
        self._paces: OrderedDict[tuple[str, str], tuple[float, int]] = OrderedDict()

    def note(
        self, what: What, *, client: str = "", key: str = "", address: str = "", detail: str = "",
        times: int = 1,
    ) -> None:  # fmt: skip
        """Write a line; it is on disk when this returns."""
        entry = Entry(
            wall_ns=time.time_ns(), mono_ns=time.monotonic_ns(), epoch=self.epoch,
            what=what, client=client, key=key, address=address, detail=detail, times=times,
        )  # fmt: skip
        try:
            self._append(msgspec.json.encode(entry) + b"\n")
            self.trouble = ""
        except OSError as error:
            self.trouble = f"audit {self.path} cannot be written: {error}"

    def note_now_and_then(
        self, what: What, *, client: str = "", key: str = "", address: str = "", detail: str = ""
    ) -> None:
        """Write a line where the last one like it, from this address or client, is a minute ago."""
        self.denied += what == "denied"
        now_s, of = time.monotonic(), (what, client or address)
        last_s, times = self._paces.pop(of, (float("-inf"), 0))
        due = now_s - last_s >= PAUSE_S
        self._paces[of] = (now_s, 0) if due else (last_s, times + 1)
        if len(self._paces) > ADDRESSES:
            self._paces.popitem(last=False)
        if due:
            self.note(what, client=client, key=key, address=address, detail=detail, times=times + 1)

    def _append(self, line: bytes) -> None:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            size = os.fstat(file).st_size
            # What a power cut left half written ends here.
            torn = size and os.pread(file, 1, size - 1) != b"\n"
            os.write(file, b"\n" + line if torn else line)
            os.fsync(file)
        finally:
            os.close(file)
        if not size:
            sync_folder(self.path.parent)
        if size >= MOST_BYTES:
            os.replace(self.path, self.path.with_name(EARLIER))


def read(folder: Path) -> list[Entry]:
    """What is kept, oldest first; a line that a power cut left half written is left out."""
    lines: list[bytes] = []
    for name in (EARLIER, NAME):
        path = folder / name
        lines += path.read_bytes().splitlines() if path.exists() else []
    entries = []
    for line in lines:
        try:
            entries.append(msgspec.json.decode(line, type=Entry))
        except ValueError:
            continue
    return entries
