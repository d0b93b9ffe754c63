"""A recorded trial as one thing: its files opened in order, its messages in the order they were.

It knows segments and what their channels hold; it does not know what a reader wants of them. Files
that were never finished, or are damaged, are read as far as they are whole: `otter-edge trial
check` says what is missing.
"""

from __future__ import annotations

import contextlib
import heapq
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec

from otter_runtime.errors import TrialError
from otter_runtime.frame import Frame
from otter_runtime.trials import picture
from otter_runtime.trials.channels import CAMERA, Show, kinds, ordered
from otter_runtime.trials.foxglove import picture as file_in
from otter_runtime.trials.salvage import Salvage
from otter_runtime.trials.segment import PART

SUFFIX = ".mcap"
SHOW = ordered(Show)
# How many messages may wait for one that a frame's encoding, or damage, keeps back.
LOOKAHEAD = 1024


@dataclass(frozen=True, order=True)
class Record:
    """A message of a trial. `order` counts all of them from 1, as they happened.

    `mono_ns` is the moment on the recording machine's monotonic clock, `log_ns` the same on the
    trial's, which was the wall clock when it began.
    """

    order: int
    topic: str
    log_ns: int
    mono_ns: int
    data: bytes

    @property
    def fields(self) -> dict[str, Any]:
        """What a JSON message says; the envelope's fields are among them."""
        found: dict[str, Any] = msgspec.json.decode(self.data)
        return found

    @cached_property
    def message(self) -> msgspec.Struct:
        """The struct that was recorded. Raises TrialError for a topic that this version lacks."""
        kind = kinds().get(self.topic)
        if kind is None:
            raise TrialError(f"{self.topic} is unknown here; read it with the version it is from")
        try:
            return msgspec.json.decode(self.data, type=kind)
        except (msgspec.MsgspecError, ValueError) as error:
            raise TrialError(f"a message of {self.topic} cannot be read: {error}") from error


@dataclass(frozen=True)
class Sight:
    """A frame that the brain was shown, when, and the file that holds its picture (b"": none)."""

    record: Record
    show: Show
    file: bytes

    def frame(self) -> Frame:
        """The frame with its very pixels. Raises TrialError where they are not to be had."""
        if not self.file:
            raise TrialError(
                f"frame {self.show.stamp.id} was not recorded, the disk was too slow for it; "
                "what was answered from it cannot be repeated"
            )
        pixels = picture.decode(self.file)
        if picture.digest(pixels) != self.show.digest:
            raise TrialError(
                f"frame {self.show.stamp.id} decodes to other pixels than were seen; this "
                "machine's JPEG decoder differs from the device's: record as png, or replay there"
            )
        return Frame(self.show.stamp, pixels, self.file)


class Trial:
    """One trial: a folder of segments, or a single MCAP file."""

    def __init__(self, path: Path) -> None:
        """Raises TrialError where there is none."""
        self.path = path
        self.files = segments(path)

    @cached_property
    def metadata(self) -> dict[str, dict[str, str]]:
        """What stands in the first file that says it: trial, build, machine, bundle."""
        return self._first.metadata if self._first else {}

    @cached_property
    def attachments(self) -> dict[str, bytes]:
        """config.json and manifest.json, where a file has them whole."""
        found = self._first.attachments if self._first else {}
        return {name: one.data for name, one in found.items()}

    @property
    def name(self) -> str:
        """The trial's name, which is the folder's where it was recorded."""
        return self.metadata.get("trial", {}).get("name", self.path.name)

    @property
    def begun_ns(self) -> int:
        """When it began, on its own clock."""
        return int(self.metadata.get("trial", {}).get("wall_ns", 0))

    @cached_property
    def ended_ns(self) -> int:
        """When its last message was, on its own clock; the beginning where there is none."""
        for path in reversed(self.files):
            with contextlib.suppress(TrialError):  # what is no MCAP file says nothing
                chunks = Salvage(path).chunks()
                times = [one.log_time for chunk in chunks for one in chunk.messages]
                if times:
                    return max(times)
        return self.begun_ns

    @property
    def seconds(self) -> float:
        """How long it is."""
        return (self.ended_ns - self.begun_ns) / 1e9

    @property
    def ahead_ns(self) -> int:
        """The trial's clock less the monotonic one."""
        return _ahead_ns(self.metadata)

    def records(self, topics: Collection[str] | None = None) -> Iterator[Record]:
        """Everything, or what is of these topics, in the order it happened."""
        for record in _in_order(self._read()):
            if topics is None or record.topic in topics:
                yield record

    def sights(self) -> Iterator[Sight]:
        """Every frame that the brain was shown, in order."""
        return (one for one in self.seen({SHOW, CAMERA}) if isinstance(one, Sight))

    def seen(self, topics: Collection[str] | None = None) -> Iterator[Record | Sight]:
        """Like `records`, with each frame and its picture as one Sight."""
        shown: Record | None = None
        for record in self.records(topics):
            beside = shown and record.topic == CAMERA and record.order == shown.order + 1
            if shown is not None:
                yield _sight(shown, file_in(record.data) if beside else b"")
            shown = record if record.topic == SHOW else None
            # A picture by itself is of no frame.
            if record.topic not in (SHOW, CAMERA):
                yield record
        if shown is not None:
            yield _sight(shown, b"")

    @cached_property
    def _first(self) -> Salvage | None:
        for file in self._opened():
            for _ in file.chunks():
                pass
            if "trial" in file.metadata:
                return file
        return None

    def _opened(self) -> Iterator[Salvage]:
        """The files that are MCAP at all. Raises TrialError where none is."""
        refusal: TrialError | None = None
        opened = False
        for path in self.files:
            try:
                yield Salvage(path)
                opened = True
            except TrialError as error:
                refusal = error
        if refusal is not None and not opened:
            raise refusal

    def _read(self) -> Iterator[Record]:
        """In the order of the files: what was urgent went ahead of frames."""
        for file in self._opened():
            ahead_ns: int | None = None
            for chunk in file.chunks():
                if ahead_ns is None:
                    ahead_ns = _ahead_ns(file.metadata or self.metadata)
                for one in chunk.messages:
                    channel = file.channels.get(one.channel_id)
                    if channel is not None:
                        mono_ns = one.log_time - ahead_ns
                        yield Record(one.sequence, channel.topic, one.log_time, mono_ns, one.data)


def segments(path: Path) -> list[Path]:
    """The files of a trial in their order, finished or not. Raises TrialError."""
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise TrialError(f"there is no {path}; give a trial's folder, or one of its files")
    found = {file.name.removesuffix(PART): file for file in sorted(path.glob(f"*{SUFFIX}{PART}"))}
    found |= {file.name: file for file in path.glob(f"*{SUFFIX}")}
    if not found:
        inside = [one.name for one in path.iterdir() if one.is_dir()]
        hint = f"; give one of those in it: {', '.join(sorted(inside)[-3:])}" if inside else ""
        raise TrialError(f"{path} has no {SUFFIX} files{hint or '; give the folder of a trial'}")
    return [found[name] for name in sorted(found)]


def _ahead_ns(metadata: dict[str, dict[str, str]]) -> int:
    """The trial's clock less the monotonic one."""
    said = metadata.get("trial", {})
    return int(said.get("wall_ns", 0)) - int(said.get("mono_ns", 0))


def _in_order(records: Iterator[Record]) -> Iterator[Record]:
    """By `order`; where one is missing, what comes after it waits a while and then goes on."""
    waiting: list[Record] = []
    due = 1
    for record in records:
        heapq.heappush(waiting, record)
        while waiting and (waiting[0].order <= due or len(waiting) > LOOKAHEAD):
            one = heapq.heappop(waiting)
            due = max(due, one.order + 1)
            yield one
    while waiting:
        yield heapq.heappop(waiting)


def _sight(record: Record, file: bytes) -> Sight:
    show = record.message
    assert isinstance(show, Show)
    return Sight(record, show, file)
