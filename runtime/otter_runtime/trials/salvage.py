"""What is whole in an MCAP file, however it ended: read front to back, every chunk by its CRC.

It knows the container and not what messages say. The library's own readers stop at the first
damage; this one notes it and goes on at the next place where a chunk begins that proves itself.
Chunks hold all messages, so what is between damaged chunks is never lost with them.
"""

from __future__ import annotations

import hashlib
import mmap
import struct
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

import zstandard
from mcap.data_stream import ReadDataStream
from mcap.exceptions import McapError
from mcap.opcode import Opcode
from mcap.records import (
    Attachment,
    Channel,
    Chunk,
    DataEnd,
    Header,
    McapRecord,
    Message,
    MessageIndex,
    Metadata,
    Schema,
)
from mcap.stream_reader import breakup_chunk
from mcap.writer import MCAP0_MAGIC

from otter_runtime.errors import TrialError

_HEAD = struct.Struct("<BQ")  # opcode, length
# Every chunk of ours has these bytes at this distance from its first: that is how one is found.
_ZSTD, _ZSTD_AT = b"\x04\x00\x00\x00zstd", 37
_FOOTER, _CRC = struct.Struct("<QQI"), struct.Struct("<I")
_FOOTER_BYTES = _HEAD.size + _FOOTER.size
_DAMAGED = object()
_BROKEN = (McapError, ValueError, struct.error, zstandard.ZstdError, MemoryError)


@dataclass
class Damage:
    """Bytes of a file that could not be read; `messages` by channel where an index tells."""

    start: int
    end: int
    why: str
    messages: Counter[int] = field(default_factory=Counter)


@dataclass(frozen=True)
class Whole:
    """A chunk that is what it was when it was written."""

    start: int
    messages: tuple[Message, ...]


class Salvage:
    """One file; iterate over `chunks` once, then the rest is known.

    `channels` and `schemas` are by id. `finished` says that a footer ends the file, `indexed` that
    the summary before it is what was written.
    """

    def __init__(self, path: Path) -> None:
        """Raises TrialError where there is no such file or it is no MCAP file at all."""
        self.path = path
        self.schemas: dict[int, Schema] = {}
        self.channels: dict[int, Channel] = {}
        self.attachments: dict[str, Attachment] = {}
        self.metadata: dict[str, dict[str, str]] = {}
        self.damages: list[Damage] = []
        self._proven: set[int] = set()  # ids whose channel stood in a whole chunk
        self._blamed: Damage | None = None  # whose indexes are being read
        try:
            with path.open("rb") as file:
                self._data = _mapped(file.fileno())
        except OSError as error:
            raise TrialError(f"{path} cannot be read ({error.strerror}); give a trial") from error
        if self._data[: len(MCAP0_MAGIC)] != MCAP0_MAGIC and self._find(0) is None:
            raise TrialError(f"{path} is no MCAP file; give a trial recorded by `otter-edge run`")
        self.finished, self.indexed = self._ending()

    def chunks(self) -> Iterator[Whole]:
        """The whole chunks, in the order of the file."""
        at, end = len(MCAP0_MAGIC), False
        while at < len(self._data) and not end:
            opcode, after = self._head(at)
            record = self._read(opcode, at, after)
            if record is _DAMAGED:
                at = self._skip(at, after)
                continue
            if isinstance(record, Chunk):
                self._blamed = None
                yield self._whole(at, record)
            else:
                self._take(record)
            at, end = after, opcode == Opcode.DATA_END

    @property
    def sha256(self) -> str:
        """Of the whole file, in hex."""
        return hashlib.sha256(self._data).hexdigest()

    @property
    def lost_bytes(self) -> int:
        """How many bytes could not be read."""
        return sum(damage.end - damage.start for damage in self.damages)

    def _head(self, at: int) -> tuple[int, int]:
        """Opcode and end of the record that begins at `at`; opcode 0 where none can."""
        if at + _HEAD.size > len(self._data):
            return 0, 0
        opcode, length = _HEAD.unpack_from(self._data, at)
        after = at + _HEAD.size + length
        known = 1 <= opcode <= Opcode.DATA_END and after <= len(self._data)
        return (opcode, after) if known else (0, 0)

    def _read(self, opcode: int, at: int, after: int) -> McapRecord | object:
        """The record, or _DAMAGED."""
        if not opcode:
            return _DAMAGED
        try:
            return _record(Opcode(opcode), self._data[at + _HEAD.size : after])
        except _BROKEN:
            return _DAMAGED

    def _skip(self, at: int, after: int) -> int:
        """Note damage at `at`; where reading goes on."""
        if after and (after == len(self._data) or self._proves(after)):
            why = "a damaged record"  # whose length is right
        else:
            after = self._find(at + 1) or len(self._data)
            torn = after == len(self._data) and not self.finished
            why = "the file ends within a record" if torn else "damaged records"
        self._blamed = Damage(at, after, why)
        self.damages.append(self._blamed)
        return after

    def _proves(self, at: int) -> bool:
        """Whether a record begins at `at` that is what it says."""
        opcode, after = self._head(at)
        return self._read(opcode, at, after) is not _DAMAGED

    def _find(self, at: int) -> int | None:
        """The next place at or after `at` where a chunk begins that proves itself."""
        while (mark := self._data.find(_ZSTD, at + _ZSTD_AT)) >= 0:
            start = mark - _ZSTD_AT
            if self._data[start] == Opcode.CHUNK and self._proves(start):
                return start
            at = start + 1
        return None

    def _ending(self) -> tuple[bool, bool]:
        start = len(self._data) - len(MCAP0_MAGIC) - _FOOTER_BYTES
        opcode, after = self._head(start) if start > 0 else (0, 0)
        if opcode != Opcode.FOOTER or self._data[after:] != MCAP0_MAGIC:
            return False, False
        summary, _, crc = _FOOTER.unpack_from(self._data, start + _HEAD.size)
        return True, crc == zlib.crc32(self._data[summary : after - 4])

    def _whole(self, at: int, chunk: Chunk) -> Whole:
        messages: list[Message] = []
        for record in breakup_chunk(chunk):
            if isinstance(record, Message):
                messages.append(record)
            elif isinstance(record, Channel):
                self._proven.add(record.id)
                self.channels[record.id] = record
            elif isinstance(record, Schema):
                self.schemas[record.id] = record
        return Whole(at, tuple(messages))

    def _take(self, record: McapRecord | object) -> None:
        if isinstance(record, Schema):
            self.schemas.setdefault(record.id, record)
        elif isinstance(record, Channel) and record.id not in self._proven:
            self.channels[record.id] = record
        elif isinstance(record, Attachment):
            self.attachments[record.name] = record
        elif isinstance(record, Metadata):
            self.metadata[record.name] = record.metadata
        elif isinstance(record, MessageIndex) and self._blamed:
            # Right behind damage: it says what was in the chunk that is gone.
            self._blamed.messages[record.channel_id] += len(record.records)


def _mapped(descriptor: int) -> mmap.mmap | bytes:
    try:
        return mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ)
    except ValueError:  # an empty file
        return b""


# What stands before the end of the data; of DATA_END nothing counts.
_READERS: dict[Opcode, Callable[[ReadDataStream], McapRecord]] = {
    Opcode.HEADER: Header.read,
    Opcode.CHUNK: Chunk.read,
    Opcode.SCHEMA: Schema.read,
    Opcode.CHANNEL: Channel.read,
    Opcode.ATTACHMENT: Attachment.read,
    Opcode.METADATA: Metadata.read,
    Opcode.MESSAGE_INDEX: MessageIndex.read,
    Opcode.DATA_END: DataEnd.read,
}


def _record(opcode: Opcode, body: bytes) -> McapRecord:
    """The record with this body. Raises one of _BROKEN where it is not what it says."""
    if opcode not in _READERS:
        raise ValueError(f"{opcode.name} does not belong there")
    stream = ReadDataStream(BytesIO(body))
    record = _READERS[opcode](stream)
    # A wrong length would lead past good records.
    if stream.count != len(body):
        raise ValueError(f"{opcode.name} has {stream.count} bytes, its length says {len(body)}")
    if isinstance(record, Chunk):
        breakup_chunk(record, validate_crc=True)
    if isinstance(record, Attachment) and zlib.crc32(body[:-4]) != _CRC.unpack(body[-4:])[0]:
        raise ValueError("the attachment's CRC is another")
    return record
