"""One file of a trial while it is written: `0000.mcap.part`, a chunk per sync.

It knows MCAP and one file descriptor; it does not know what messages say. What `sync` was called
for is on the disk when it returns. The library's own stream would keep a piece of a chunk back
when the disk is full and write it later; here a chunk goes out whole or is cut off again.

Schemas and channels stand in front of the first chunk as well as within it, so that no single
damaged place takes the key to all the others.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path

from mcap.data_stream import RecordBuilder
from mcap.records import Channel as ChannelRecord
from mcap.records import Schema
from mcap.writer import CompressionType, Writer

from otter_runtime.durable import sync_folder
from otter_runtime.errors import RecordError
from otter_runtime.trials.about import About
from otter_runtime.trials.channels import Channel

PART = ".part"
LIBRARY = "otter-edge"
# Far above what comes between two syncs: a chunk ends with a sync.
CHUNK_BYTES = 64 << 20


class Sink:
    """What the writer takes for a stream: it keeps everything until `sync` puts it on the disk.

    `crc` is the CRC-32 of all that was put there.
    """

    def __init__(self, descriptor: int) -> None:
        self.crc = 0
        self._descriptor = descriptor
        self._waiting: list[bytes] = []
        self._size = 0  # with what waits
        self._safe = 0  # without

    def write(self, data: bytes) -> int:
        """Keep it."""
        self._waiting.append(data)
        self._size += len(data)
        return len(data)

    def tell(self) -> int:
        """Where the next byte will be."""
        return self._size

    def flush(self) -> None:
        """Nothing: `sync` is what counts."""

    def sync(self) -> None:
        """Put it on the disk, all or nothing. Raises OSError."""
        data, self._waiting = b"".join(self._waiting), []
        try:
            _write_all(self._descriptor, data)
            os.fdatasync(self._descriptor)
        except OSError:
            os.ftruncate(self._descriptor, self._safe)
            raise
        self._safe += len(data)
        self.crc = zlib.crc32(data, self.crc)


class Segment:
    """A file under a name that says it is not finished. Every method raises RecordError."""

    def __init__(self, path: Path, channels: Iterable[Channel], about: About) -> None:
        self.path = path
        self.messages = 0  # in the file or on their way
        self.unsynced = 0
        self._ids: dict[str, int] = {}
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            self._descriptor = os.open(f"{path}{PART}", flags, 0o600)
        except OSError as error:
            raise _failure(path, error) from error
        self._sink = Sink(self._descriptor)
        self._writer = Writer(self._sink, CHUNK_BYTES, CompressionType.ZSTD)  # type: ignore[arg-type]
        try:
            self._begin(list(channels), about)
        except RecordError:
            os.close(self._descriptor)
            Path(f"{path}{PART}").unlink(missing_ok=True)
            raise

    def add(self, topic: str, data: bytes, log_ns: int, publish_ns: int, order: int) -> None:
        """A message; it may be lost until `sync`."""
        self._writer.add_message(self._ids[topic], log_ns, data, publish_ns, order & 0xFFFFFFFF)
        self.messages += 1
        self.unsynced += 1

    def end_chunk(self) -> None:
        """Compress what was added, so that the next sync need not; it is on no disk yet."""
        self._writer.flush()

    def sync(self) -> None:
        """Put all that was added on the disk; where that fails, nothing since the last is."""
        try:
            self._writer.flush()
            self._sink.sync()
        except OSError as error:
            raise _failure(self.path, error) from error
        self.unsynced = 0

    def finish(self, counts: Mapping[str, str]) -> int:
        """Write `counts`, index and footer, and close; the CRC-32 that the file must have now.

        It has its own name once it is verified.
        """
        try:
            # By themselves, in case that there is room for them and none for an index.
            self.sync()
            self._writer.add_metadata("recording", dict(counts))
            self._writer.finish()
            self._sink.sync()
            os.fsync(self._descriptor)
        except OSError as error:
            raise _failure(self.path, error) from error
        finally:
            os.close(self._descriptor)
        return self._sink.crc

    def abandon(self) -> None:
        """Close what cannot be written any more; up to the last sync it is good."""
        os.close(self._descriptor)

    def _begin(self, channels: list[Channel], about: About) -> None:
        self._writer.start("", LIBRARY)
        self._sink.write(_records(channels))
        for channel in channels:
            schema = self._writer.register_schema(
                channel.schema_name, channel.schema_encoding, channel.schema
            )
            self._ids[channel.topic] = self._writer.register_channel(
                channel.topic, channel.encoding, schema
            )
        for name, values in about.metadata.items():
            self._writer.add_metadata(name, dict(values))
        for name, data in about.files.items():
            now_ns = about.wall_ns
            self._writer.add_attachment(now_ns, now_ns, name, "application/json", data)
        self.sync()
        sync_folder(self.path.parent)


def _records(channels: Iterable[Channel]) -> bytes:
    """Schemas and channels as the writer numbers them, from 1 in their order."""
    builder = RecordBuilder()
    for number, channel in enumerate(channels, start=1):
        Schema(
            id=number,
            name=channel.schema_name,
            encoding=channel.schema_encoding,
            data=channel.schema,
        ).write(builder)
        ChannelRecord(
            id=number,
            topic=channel.topic,
            message_encoding=channel.encoding,
            schema_id=number,
            metadata={},
        ).write(builder)
    return bytes(builder.end())


def _write_all(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _failure(path: Path, error: OSError) -> RecordError:
    return RecordError(f"{path}{PART} cannot be written: {error.strerror or error}")
