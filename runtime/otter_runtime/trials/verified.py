"""A finished file gets its own name once it is what was written.

It reads the file back, every byte of it; it does not know what is in it.
"""

from __future__ import annotations

import os
import zlib
from pathlib import Path

from otter_runtime.durable import sync_folder
from otter_runtime.errors import RecordError

_BLOCK_BYTES = 1 << 20


def promote(part: Path, path: Path, crc: int) -> None:
    """Rename `part`, whose bytes must have this CRC-32, to `path`. Raises RecordError, OSError."""
    read = 0
    with part.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            read = zlib.crc32(block, read)
    if read != crc:
        raise RecordError(f"{part} is not what was written to it; the disk may be failing")
    os.rename(part, path)
    sync_folder(path.parent)
