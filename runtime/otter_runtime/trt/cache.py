"""Self-attention K/V in device memory, written in place; it does not know how a graph runs.

A row is one head of one layer's K or V, (capacity, head_dim) float32. There are a few more rows
than heads where that makes each layer's first address fit TensorRT's alignment, so that new K/V
of all layers go in by one strided copy.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from otter_runtime.bundle import DecoderDims
from otter_runtime.growing_cache import GrowingCache
from otter_runtime.trt.gpu import ALIGNMENT, Gpu

FLOAT_BYTES = 4


class Rows:
    """Device memory for K and V of `tokens` tokens per row."""

    def __init__(self, gpu: Gpu, dims: DecoderDims, tokens: int) -> None:
        self._gpu = gpu
        self._token_bytes = dims.head_dim * FLOAT_BYTES
        together = ALIGNMENT // math.gcd(ALIGNMENT, self._token_bytes)
        self._heads = -(-dims.heads // together) * together
        self._count = dims.layers * 2 * self._heads
        self._pitch = tokens * self._token_bytes
        self._buffer = gpu.buffer(self._count * self._pitch)
        self.address = self._buffer.address

    def at(self, layer: int, part: int) -> int:
        """The address where K (`part` 0) or V (1) of `layer` begins."""
        return self.address + (2 * layer + part) * self._heads * self._pitch

    def write(self, start: int, source: Rows, tokens: int) -> None:
        """Copy the first `tokens` tokens of every row of `source` to the slots from `start`."""
        to, size = self.address + start * self._token_bytes, self._token_bytes
        self._gpu.copy_rows(
            to, self._pitch, source.address, source._pitch, tokens * size, self._count
        )


class DeviceCache(GrowingCache):
    """Self-attention K/V of one prompt on the GPU."""

    def __init__(self, gpu: Gpu, dims: DecoderDims, capacities: Sequence[int]) -> None:
        super().__init__(capacities)
        self._gpu, self._dims = gpu, dims
        self.rows = Rows(gpu, dims, self.capacity)

    def append(self, new: Rows, tokens: int) -> None:
        """Take over the first `tokens` of the new K/V in `new`."""
        self.rows.write(self.length, new, tokens)
        self.length += tokens

    def _move(self, capacity: int) -> None:
        larger = Rows(self._gpu, self._dims, capacity)
        if self.length:
            larger.write(0, self.rows, self.length)
            self._gpu.wait()  # before the old one is freed
        self.rows = larger
