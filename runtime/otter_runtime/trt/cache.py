"""Self-attention K/V in device memory, written in place; it does not know how a graph runs.

A row is one head of one layer's K or V, (capacity, head_dim) float32. There are a few more rows
than heads where that makes each layer's first address fit TensorRT's alignment, so that new K/V
of all layers go in by one strided copy.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from otter_runtime.bundle import DecoderDims
from otter_runtime.errors import EngineError, PromptTooLong
from otter_runtime.trt.gpu import ALIGNMENT, Buffer, Gpu

FLOAT_BYTES = 4


class Rows:
    """How rows lie in a buffer for `tokens` tokens per row."""

    def __init__(self, dims: DecoderDims, tokens: int) -> None:
        self.token_bytes = dims.head_dim * FLOAT_BYTES
        together = ALIGNMENT // math.gcd(ALIGNMENT, self.token_bytes)
        self.heads = -(-dims.heads // together) * together
        self.count = dims.layers * 2 * self.heads
        self.pitch = tokens * self.token_bytes
        self.nbytes = self.count * self.pitch

    def offset(self, layer: int, part: int) -> int:
        """Where K (`part` 0) or V (1) of `layer` begins."""
        return (2 * layer + part) * self.heads * self.pitch


class DeviceCache:
    """Self-attention K/V of one prompt on the GPU."""

    def __init__(self, gpu: Gpu, dims: DecoderDims, capacities: Sequence[int]) -> None:
        self.length = 0
        self._gpu = gpu
        self._dims = dims
        self._capacities = sorted(capacities)
        self._take(self._capacities[0])

    def truncate(self, length: int) -> None:
        """Keep the first `length` tokens."""
        if not 0 <= length <= self.length:
            raise EngineError(f"the cache holds {self.length} tokens, it cannot keep {length}")
        self.length = length

    def reserve(self, length: int) -> None:
        """Make room for `length` tokens; PromptTooLong where no capacity is that large."""
        if length <= self.capacity:
            return
        larger = next((size for size in self._capacities if size >= length), None)
        if larger is None:
            raise PromptTooLong(length, self._capacities[-1])
        old, rows = self.buffer, self.rows
        self._take(larger)
        self._write(old.address, rows.pitch, 0, self.length)
        self._gpu.wait()  # before the old one is freed

    def append(self, new: Buffer, rows: Rows, tokens: int) -> None:
        """Take over the first `tokens` of new K/V that lie in `new` as `rows` says."""
        self._write(new.address, rows.pitch, self.length, tokens)
        self.length += tokens

    def _take(self, capacity: int) -> None:
        self.capacity = capacity
        self.rows = Rows(self._dims, capacity)
        self.buffer = self._gpu.buffer(self.rows.nbytes)

    def _write(self, source: int, pitch: int, at: int, tokens: int) -> None:
        if not tokens:
            return
        size, to = self.rows.token_bytes, self.buffer.address
        self._gpu.copy_rows(
            to + at * size, self.rows.pitch, source, pitch, tokens * size, self.rows.count
        )
