"""Pictures within a page: small enough to look at, as JPEG in the text itself.

It knows pixels; it does not know whose they are.
"""

from __future__ import annotations

import base64
import io

from PIL import Image

from otter_runtime.frame import Pixels
from otter_runtime.pages.markup import Html, tag

SIDE = 512  # pixels at most, which is sharp at twice the size of a card's picture
QUALITY = 82


def picture(pixels: Pixels, alt: str, side: int = SIDE, quality: int = QUALITY) -> Html:
    """An <img> of pixels (height, width, 3), no longer than `side`; `alt` says what it is."""
    image = Image.fromarray(pixels)
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality, optimize=True)
    data = base64.b64encode(buffer.getvalue()).decode()
    return tag(
        "img",
        src=f"data:image/jpeg;base64,{data}",
        alt=alt,
        width=image.width,
        height=image.height,
    )
