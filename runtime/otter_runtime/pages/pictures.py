"""Pictures within a page: small enough to look at, as JPEG in the text itself.

It knows pixels; it does not know whose they are.
"""

from __future__ import annotations

import base64
import io
from typing import NamedTuple

from PIL import Image

from otter_runtime.frame import Pixels
from otter_runtime.pages.markup import Html, tag

SIDE = 512  # pixels at most, which is sharp at twice the size of a card's picture
QUALITY = 82


class Small(NamedTuple):
    """A JPEG file and its size in pixels."""

    file: bytes
    width: int
    height: int


def small(pixels: Pixels, side: int = SIDE, quality: int = QUALITY) -> Small:
    """Pixels (height, width, 3) as a picture no longer than `side`."""
    image = Image.fromarray(pixels)
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality, optimize=True)
    return Small(buffer.getvalue(), image.width, image.height)


def shown(one: Small, alt: str) -> Html:
    """An <img> with the file in it; `alt` says what it is."""
    data = base64.b64encode(one.file).decode()
    return tag(
        "img",
        src=f"data:image/jpeg;base64,{data}",
        alt=alt,
        width=one.width,
        height=one.height,
    )


def picture(pixels: Pixels, alt: str, side: int = SIDE, quality: int = QUALITY) -> Html:
    """An <img> of pixels (height, width, 3), no longer than `side`."""
    return shown(small(pixels, side, quality), alt)
