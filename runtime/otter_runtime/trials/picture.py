"""A frame as a picture file, and back to the very pixels that the model saw.

It knows JPEG and PNG; it does not know where files are kept. A frame that came as a file (pushed
by a robot, or from a camera that speaks JPEG) stays that file. Any other is a PNG, which loses
nothing. Decoders of JPEG may differ by a bit from one machine to the next, so a digest of
the pixels goes with each picture, and tells.
"""

from __future__ import annotations

import hashlib
import io
from typing import Literal

import numpy as np
from PIL import Image

from otter_runtime.errors import TrialError
from otter_runtime.frame import Frame, Pixels
from otter_runtime.trials import png

Encoding = Literal["jpeg", "png"]
QUALITY = 95


def encode(frame: Frame) -> tuple[Encoding, bytes]:
    """The file that shows this frame exactly."""
    if frame.file:
        return _kind(frame.file), frame.file
    return "png", png.encode(frame.pixels)


def through_jpeg(frame: Frame) -> Frame:
    """The same frame as a JPEG shows it, which is small and then the truth for everybody."""
    buffer = io.BytesIO()
    Image.fromarray(frame.pixels).save(buffer, "JPEG", quality=QUALITY, subsampling=0)
    file = buffer.getvalue()
    return Frame(frame.stamp, decode(file), file)


def decode(file: bytes) -> Pixels:
    """The pixels (height, width, 3) of a recorded picture. Raises TrialError."""
    try:
        with Image.open(io.BytesIO(file), formats=["JPEG", "PNG"]) as image:
            return np.asarray(image.convert("RGB"))
    except (OSError, SyntaxError, ValueError) as error:
        raise TrialError(f"a recorded picture cannot be decoded ({error}); repair it") from error


def digest(pixels: Pixels) -> str:
    """What stands for these pixels: 16 bytes, in hex."""
    return hashlib.blake2b(np.ascontiguousarray(pixels).data, digest_size=16).hexdigest()


def _kind(file: bytes) -> Encoding:
    return "png" if file.startswith(b"\x89PNG") else "jpeg"
