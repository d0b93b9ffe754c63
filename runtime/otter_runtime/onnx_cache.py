"""Self-attention K/V in numpy buffers, and the decoder graph bound to them.

The graph reads a cache's buffers in place and writes new K/V beside; a run is bound once per
capacity and token count, so a decode step only writes a few numbers and runs. It does not know
which tokens are worth keeping.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from otter_runtime.bundle import DecoderDims, Manifest
from otter_runtime.engine import Floats, Media
from otter_runtime.growing_cache import GrowingCache


class OnnxCache(GrowingCache):
    """Self-attention K/V of one prompt, (layers, 2, heads, capacity, head_dim) float32."""

    def __init__(self, dims: DecoderDims, capacities: Sequence[int]) -> None:
        super().__init__(capacities)
        self._dims = dims
        self.runs: dict[int, Run] = {}
        self.kv = self._buffer(self.capacity)

    def append(self, new: Floats) -> None:
        """Take over new K/V (layers, 2, heads, n, head_dim)."""
        end = self.length + new.shape[3]
        self.kv[:, :, :, self.length : end] = new
        self.length = end

    def _move(self, capacity: int) -> None:
        old, self.kv = self.kv, self._buffer(capacity)
        self.kv[:, :, :, : self.length] = old[:, :, :, : self.length]
        self.runs.clear()

    def _buffer(self, capacity: int) -> Floats:
        # Zeros, not garbage: an empty slot is masked, but 0 · NaN would still be NaN.
        d = self._dims
        return np.zeros((d.layers, 2, d.heads, capacity, d.head_dim), np.float32)


class Run:
    """The decoder bound to one cache's buffers for `count` tokens and `rows` rows of logits."""

    def __init__(
        self, session: Any, manifest: Manifest, cache: OnnxCache, count: int, rows: int
    ) -> None:
        d = manifest.dims.decoder
        self.session = session
        self.ids = np.zeros(count, np.int64)
        self.positions = np.zeros(count, np.int64)
        self.media_index = np.zeros(count, np.int64)
        self.logit_positions = np.arange(count - rows, count, dtype=np.int64)
        self.past_len = np.zeros(1, np.int64)
        self.logits = np.zeros((rows, d.vocab), np.float32)
        self.new = np.zeros((d.layers, 2, d.heads, count, d.head_dim), np.float32)
        self.media: Media | None = None
        self._ramp = np.arange(count, dtype=np.int64)
        self._binding = session.io_binding()
        self._bind_all(cache)

    def __call__(
        self, start: int, ids: Sequence[int], media_index: Sequence[int], media: Media
    ) -> Floats:
        """Run from position `start`; logits (rows, vocab), valid until the next call."""
        if media is not self.media:
            self._bind_input("media_k", media.k)
            self._bind_input("media_v", media.v)
            self.media = media
        self.ids[:] = ids
        self.media_index[:] = media_index
        np.add(self._ramp, start, out=self.positions)
        self.past_len[0] = start
        self.session.run_with_iobinding(self._binding)
        return self.logits

    def _bind_all(self, cache: OnnxCache) -> None:
        self._bind_input("input_ids", self.ids)
        self._bind_input("positions", self.positions)
        self._bind_input("media_index", self.media_index)
        self._bind_input("logit_positions", self.logit_positions)
        self._bind_input("past_len", self.past_len)
        self._bind_output("logits", self.logits)
        for i in range(self.new.shape[0]):
            for at, part in enumerate("kv"):
                self._bind_input(f"past_{part}.{i}", cache.kv[i, at])
                self._bind_output(f"new_{part}.{i}", self.new[i, at])

    def _bind_input(self, name: str, array: NDArray[Any]) -> None:
        # By address: the array belongs to the run, the cache or the medium, and outlives the call.
        self._binding.bind_input(name, "cpu", 0, array.dtype, array.shape, array.ctypes.data)

    def _bind_output(self, name: str, array: NDArray[Any]) -> None:
        self._binding.bind_output(name, "cpu", 0, array.dtype, array.shape, array.ctypes.data)
