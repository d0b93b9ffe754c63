"""A camera frame to the pixels the vision graph takes, as the reference's CLIPImageProcessor.

RGB, Pillow bicubic (antialiased) to the shortest edge, centre crop, 1/255, mean and std; an
all-black picture becomes zeros after normalisation.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from otter_runtime.bundle import Preprocess
from otter_runtime.errors import UserError

# The square of a frame without any light, which the reference makes zeros: told apart from one of a
# frame that is dark only where it is looked at.
BLACK = np.zeros((0, 0, 3), np.uint8)


class Preprocessor:
    """Frames to pixels for one bundle; the normalisation of all 256 values is a table."""

    def __init__(self, settings: Preprocess) -> None:
        if settings.mode not in ("crop", "squash"):
            raise UserError(
                f"preprocess.mode is {settings.mode!r}, it can be 'crop' or 'squash'; "
                "correct it in the manifest"
            )
        self.size = settings.size
        self.squash = settings.mode == "squash"
        values = (np.arange(256) * (1 / 255)).astype(np.float32)
        mean = np.array(settings.mean, np.float32)[:, None]
        std = np.array(settings.std, np.float32)[:, None]
        self.table: NDArray[np.float32] = (values[None] - mean) / std  # (3, 256)

    def __call__(self, rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
        """A frame (H, W, 3) uint8 RGB to pixels (3, size, size) float32. Raises UserError."""
        return self.normalised(self.square(rgb))

    def square(self, rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """What of a frame (H, W, 3) uint8 RGB is looked at: (size, size, 3), or BLACK.

        All that the pixels depend on, in a quarter of their bytes. Raises UserError where the frame
        has another shape or dtype.
        """
        if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8 or 0 in rgb.shape:
            raise UserError(
                f"a frame is (height, width, 3) uint8 RGB, got {rgb.shape} {rgb.dtype}; "
                "convert it before it enters the window"
            )
        if not rgb.any():
            return BLACK
        return np.ascontiguousarray(self._squashed(rgb) if self.squash else self._cropped(rgb))

    def normalised(self, square: NDArray[np.uint8]) -> NDArray[np.float32]:
        """A square to pixels (3, size, size) float32; the one of an all-black frame to zeros."""
        if not square.size:
            return np.zeros((3, self.size, self.size), np.float32)
        pixels = np.empty((3, self.size, self.size), np.float32)
        for channel in range(3):
            np.take(self.table[channel], square[:, :, channel], out=pixels[channel])
        return pixels

    def _squashed(self, rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return _resized(rgb, self.size, self.size)

    def _cropped(self, rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
        height, width = rgb.shape[:2]
        short = min(height, width)
        # The reference truncates the longer edge: int(size * long / short).
        new_height, new_width = (int(self.size * edge / short) for edge in (height, width))
        resized = _resized(rgb, new_width, new_height)
        top, left = (new_height - self.size) // 2, (new_width - self.size) // 2
        return resized[top : top + self.size, left : left + self.size]


def _resized(rgb: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    if rgb.shape[:2] == (height, width):
        return rgb
    image = Image.fromarray(np.ascontiguousarray(rgb))
    return np.asarray(image.resize((width, height), Image.Resampling.BICUBIC))
