"""Frames in memory that two processes share: a few slots, each as large as any frame may be.

The memory is anonymous and reached by its descriptor alone, so nothing is left behind however a
process dies. It knows who may write (the front) only by agreement: a slot given out is not written
again until it is given back.
"""

from __future__ import annotations

import mmap
import os
import tempfile

import numpy as np

from otter_runtime.errors import UserError
from otter_runtime.frame import Pixels

SLOTS = 4
SLOT_BYTES = 7680 * 4320 * 3  # 8K; pages nobody touched cost nothing


class Slots:
    """The shared slots; the front makes them, the brain opens them by descriptor."""

    def __init__(self, descriptor: int | None = None) -> None:
        self.descriptor = _anonymous(SLOTS * SLOT_BYTES) if descriptor is None else descriptor
        self._memory = mmap.mmap(self.descriptor, SLOTS * SLOT_BYTES)
        self._free = list(range(SLOTS))

    def put(self, pixels: Pixels) -> int | None:
        """Copy a frame into a free slot; None where there is none, UserError where it is larger."""
        if pixels.nbytes > SLOT_BYTES:
            raise UserError(
                f"a frame of {pixels.shape[1]}x{pixels.shape[0]} is larger than 7680x4320; "
                "set the camera to a smaller size"
            )
        if not self._free:
            return None
        slot = self._free.pop()
        np.copyto(self.view(slot, pixels.shape[0], pixels.shape[1]), pixels)
        return slot

    def view(self, slot: int, height: int, width: int) -> Pixels:
        """The pixels of a slot where they lie."""
        shape = (height, width, 3)
        return np.ndarray(shape, np.uint8, self._memory, slot * SLOT_BYTES)

    def release(self, slot: int) -> None:
        """A slot may be written again."""
        self._free.append(slot)

    @property
    def out(self) -> int:
        """How many slots are given out."""
        return SLOTS - len(self._free)

    def release_all(self) -> None:
        """Whoever held slots is gone."""
        self._free = list(range(SLOTS))

    def close(self) -> None:
        """Let the memory go; it lives on where it is still mapped."""
        os.close(self.descriptor)


def _anonymous(size: int) -> int:
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("otter-frames")
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    os.ftruncate(descriptor, size)
    return descriptor
