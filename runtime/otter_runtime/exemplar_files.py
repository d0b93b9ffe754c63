"""Exemplars that stand from the start: pictures in files, named in the configuration.

It reads them as if somebody had sent them over the bus; whether the model takes them is the brain's
to judge.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from PIL import Image as Pillow

from otter_robots.messages import MOST_EXEMPLARS, Image
from otter_runtime.config import ExemplarConfig
from otter_runtime.errors import UserError
from otter_runtime.wire import Pin


def pins(exemplars: Mapping[str, ExemplarConfig]) -> list[Pin]:
    """One for each, in their order.

    Raises UserError for too many, and for a file that is missing or neither JPEG nor PNG.
    """
    if len(exemplars) > MOST_EXEMPLARS:
        raise UserError(
            f"there are {len(exemplars)} exemplars, and {MOST_EXEMPLARS} may stand; leave some out"
        )
    return [_pin(name, one) for name, one in exemplars.items()]


def _pin(name: str, exemplar: ExemplarConfig) -> Pin:
    read = [_read(Path(file).expanduser()) for file in exemplar.pictures]
    return Pin(
        id=name,
        question=exemplar.instruction,
        answer=exemplar.answer,
        images=tuple(image for image, _ in read),
        files=tuple(file for _, file in read),
    )


def _read(path: Path) -> tuple[Image, bytes]:
    try:
        with Pillow.open(path, formats=["JPEG", "PNG"]) as picture:
            width, height = picture.size
            encoding: Literal["jpeg", "png"] = "png" if picture.format == "PNG" else "jpeg"
        return Image(width=width, height=height, encoding=encoding), path.read_bytes()
    # Pillow raises more than OSError for bytes that are no picture.
    except Exception as error:
        raise UserError(
            f"{path} of an exemplar cannot be read as JPEG or PNG "
            f"({getattr(error, 'strerror', None) or 'it is no such picture'}); name another file"
        ) from error
