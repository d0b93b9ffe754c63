"""What is whole of a damaged trial, written anew with index and footer.

It knows salvage and the library's writer; messages, their order and their times stay what they
are. The damaged trial is only read.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from mcap.writer import Writer

from otter_runtime.errors import TrialError
from otter_runtime.trials.check import Report, check
from otter_runtime.trials.salvage import Salvage
from otter_runtime.trials.segment import LIBRARY, PART, Sink
from otter_runtime.trials.trial import segments
from otter_runtime.trials.verified import promote

CHUNK_BYTES = 4 << 20


def repair(path: Path, to: Path) -> tuple[Report, Report]:
    """Write a trial's whole parts into the folder `to`; what was there, and what is there now.

    Raises TrialError where `path` is no trial, or `to` has something in it already.
    """
    before = check(path)
    if to.exists() and any(to.iterdir()):
        raise TrialError(f"{to} is not empty; give a new folder for the repaired trial")
    to.mkdir(parents=True, exist_ok=True)
    for file in segments(path):
        with contextlib.suppress(TrialError):  # nothing is whole of what is no MCAP file
            _rewrite(file, to / file.name.removesuffix(PART))
    return before, check(to)


def _rewrite(damaged: Path, path: Path) -> None:
    file = Salvage(damaged)
    part = Path(f"{path}{PART}")
    chunks = list(file.chunks())
    with part.open("wb") as out:
        sink = Sink(out.fileno())
        writer = Writer(sink, CHUNK_BYTES)  # type: ignore[arg-type]
        writer.start("", LIBRARY)
        ids = _channels(writer, file)
        for name, values in file.metadata.items():
            writer.add_metadata(name, values)
        lost = {"bytes": str(file.lost_bytes), "damages": str(len(file.damages))}
        writer.add_metadata("repaired", lost)
        for one in file.attachments.values():
            writer.add_attachment(one.create_time, one.log_time, one.name, one.media_type, one.data)
        for chunk in chunks:
            for message in chunk.messages:
                if message.channel_id in ids:
                    writer.add_message(
                        ids[message.channel_id],
                        message.log_time,
                        message.data,
                        message.publish_time,
                        message.sequence,
                    )
            sink.sync()
        writer.finish()
        sink.sync()
        os.fsync(out.fileno())
    promote(part, path, sink.crc)


def _channels(writer: Writer, file: Salvage) -> dict[int, int]:
    """Register the file's channels; their new numbers by their old ones."""
    schemas = {
        number: writer.register_schema(one.name, one.encoding, one.data)
        for number, one in sorted(file.schemas.items())
    }
    return {
        number: writer.register_channel(
            one.topic, one.message_encoding, schemas.get(one.schema_id, 0), one.metadata
        )
        for number, one in sorted(file.channels.items())
    }
