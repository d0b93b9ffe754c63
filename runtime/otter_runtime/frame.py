"""One picture of a source, with what a robot must know to judge an answer about it.

It knows when and where a picture was taken; it does not know what will be asked about it.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]  # (height, width, 3) RGB


class Stamp(msgspec.Struct, frozen=True, kw_only=True):
    """When and where a picture was taken.

    `id` counts the frames of a run, dropped ones included. `scene` counts files played and cameras
    reopened: a window never spans two scenes. `source` names the file or camera and `index` is the
    frame's place in it, so that a reader of answers finds the very picture. `stream_ns` is time in
    the source's own clock (a file's own pace, however fast it is played); `mono_ns` and `wall_ns`
    are when it was captured here.
    """

    id: int
    scene: int
    source: str
    index: int
    stream_ns: int
    mono_ns: int
    wall_ns: int


@dataclass(frozen=True, eq=False)
class Frame:
    """A picture and its stamp; `file` is the JPEG or PNG it was decoded from, where it was one."""

    stamp: Stamp
    pixels: Pixels
    file: bytes = b""
