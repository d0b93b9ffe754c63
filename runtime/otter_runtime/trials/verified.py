"""A finished file gets its own name once it is what was written.

It reads the file back, every chunk by its CRC and the index by its own; it does not know what
messages say.
"""

from __future__ import annotations

import os
from pathlib import Path

from otter_runtime.durable import sync_folder
from otter_runtime.errors import RecordError
from otter_runtime.trials.salvage import Salvage


def promote(part: Path, path: Path) -> None:
    """Verify `part` and rename it to `path`. Raises RecordError where it is not whole, OSError."""
    file = Salvage(part)
    for _ in file.chunks():
        pass
    if file.damages or not file.indexed:
        raise RecordError(f"{part} is not what was written to it; the disk may be failing")
    os.rename(part, path)
    sync_folder(path.parent)
