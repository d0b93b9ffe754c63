"""What kind of picture some bytes are, and how large: JPEG and PNG, read from their headers.

It decodes no pixels, so that an adapter needs no image library to pass a picture on.
"""

from __future__ import annotations

import struct
from typing import Literal, NamedTuple

PNG = b"\x89PNG\r\n\x1a\n"
# Start-of-frame markers have the size; DHT (C4), JPG (C8) and DAC (CC) only look like them.
FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


class Size(NamedTuple):
    """Pixels, and the file format as `Picture.encoding` has it."""

    encoding: Literal["jpeg", "png"]
    width: int
    height: int


def picture_size(data: bytes) -> Size | None:
    """The size of a JPEG or PNG file, None where the bytes are neither."""
    if data.startswith(PNG) and data[12:16] == b"IHDR" and len(data) >= 24:
        width, height = struct.unpack_from(">II", data, 16)
        return Size("png", width, height) if width and height else None
    return _jpeg(data) if data.startswith(b"\xff\xd8") else None


def _jpeg(data: bytes) -> Size | None:
    at = 2
    while at + 9 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:  # fill bytes before a marker
            at += 1
            continue
        (length,) = struct.unpack_from(">H", data, at + 2)
        if marker in FRAMES:
            height, width = struct.unpack_from(">HH", data, at + 5)
            return Size("jpeg", width, height) if width and height else None
        at += 2 + length
    return None
