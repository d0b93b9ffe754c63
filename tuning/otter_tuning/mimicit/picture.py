"""Pictures as MIMIC-IT holds them: 224 x 224, stretched, PNG; of a video, frames at an exact rate.

It knows files, not datasets. The functions take and give plain values, so that a pool of processes
or a cluster runs them as they are.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIZE = 224
# Broadcast rates are 30000/1001 and the like; a container stores them as a float.
LARGEST_DENOMINATOR = 1001
SCHEMES = ("http://", "https://")
DOWNLOAD_S = 30.0


@dataclass(frozen=True)
class Still:
    """The picture at `path`, a file or a URL, to be called `id`."""

    id: str
    path: str


@dataclass(frozen=True)
class Video:
    """The video at `path`, whose frame k at `rate_hz` is to be called `id` + k in `digits`."""

    id: str
    path: str
    rate_hz: int
    digits: int


Task = Still | Video


@dataclass(frozen=True)
class Made:
    """What came of a task: pictures by id, or the reason why none did."""

    task: Task
    pictures: tuple[tuple[str, bytes], ...] = ()
    failure: str | None = None


def make(task: Task) -> Made:
    """Read, resize, encode; a file that cannot be read is a failure, never an exception."""
    try:
        if isinstance(task, Still):
            return Made(task, ((task.id, png(_opened(task.path))),))
        frames = video_frames(Path(task.path), task.rate_hz)
        pictures = tuple(
            (f"{task.id}_{number:0{task.digits}d}", png(Image.fromarray(frame)))
            for number, frame in enumerate(frames)
        )
        return Made(task, pictures, None if pictures else "no frame can be decoded")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        return Made(task, (), f"{type(error).__name__}: {error}")


def png(image: Image.Image, size: int = SIZE) -> bytes:
    """`image` stretched to `size` x `size` with Lanczos' filter, RGB, as PNG."""
    buffer = io.BytesIO()
    image.convert("RGB").resize((size, size), Image.Resampling.LANCZOS).save(buffer, "PNG")
    return buffer.getvalue()


def video_frames(path: Path, rate_hz: int) -> Iterator[NDArray[np.uint8]]:
    """RGB frames (H, W, 3) uint8 at the times 0, 1/rate, 2/rate … of the video.

    The frame shown at a time is the last that began by then: index floor(k · fps / rate), with fps
    as a fraction (29.97 is 30000/1001). Counting whole frames per second, as the public converter
    does, runs a second late after every half minute of such a video.
    """
    capture = cv2.VideoCapture(str(path))
    try:
        rate = capture.get(cv2.CAP_PROP_FPS)
        if not capture.isOpened() or not math.isfinite(rate) or rate <= 0:
            raise ValueError("it is no video that can be opened")
        step = Fraction(rate).limit_denominator(LARGEST_DENOMINATOR) / rate_hz
        wanted, index = 0, 0
        while capture.grab():
            # More than one wanted time may fall into one slow frame.
            while index == math.floor(wanted * step):
                known, frame = capture.retrieve()
                if not known:
                    break
                yield np.ascontiguousarray(frame[:, :, ::-1])
                wanted += 1
            index += 1
    finally:
        capture.release()


def _opened(path: str) -> Image.Image:
    if not path.startswith(SCHEMES):
        return Image.open(path)
    from urllib.request import urlopen

    with urlopen(path, timeout=DOWNLOAD_S) as answer:
        return Image.open(io.BytesIO(answer.read()))
