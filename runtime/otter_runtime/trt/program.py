"""The decoder for a fixed count of tokens against one capacity, replayed as a CUDA graph.

A step copies a few hundred bytes in, launches one graph, moves the new K/V into the cache with one
strided copy and copies the logits out.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from otter_runtime.bundle import DecoderDims
from otter_runtime.engine import Floats
from otter_runtime.trt.cache import DeviceCache, Rows
from otter_runtime.trt.context import Context
from otter_runtime.trt.gpu import Captured, Gpu, aligned
from otter_runtime.trt.media_shelf import Shown

# Graphs kept per program; one for each cache and set of media in use.
GRAPHS_KEPT = 16
PER_TOKEN = ("input_ids", "positions", "media_index")
PER_RUN = ("logit_positions", "past_len")


class Program:
    """Runs 1 to `count` tokens: fewer are padded, and what pads them is not seen."""

    def __init__(self, gpu: Gpu, context: Context, dims: DecoderDims, count: int) -> None:
        self.graphs: dict[tuple[int, ...], Captured] = {}
        self._gpu, self._context, self._dims, self._count = gpu, context, dims, count
        self._new = Rows(gpu, dims, count)
        slot = aligned(count * 8)
        self._numbers = gpu.buffer(len(PER_TOKEN + PER_RUN) * slot)
        self._host_numbers = gpu.pinned((len(PER_TOKEN + PER_RUN), slot // 8), np.int64)
        self._logits = gpu.buffer(dims.vocab * 4)
        self._host_logits: Floats = gpu.pinned((dims.vocab,), np.float32)
        for at, name in enumerate(PER_TOKEN + PER_RUN):
            shape = (count if name in PER_TOKEN else 1,)
            context.bind(name, shape, self._numbers.address + at * slot)
        context.place("logits", self._logits.address)
        for i in range(dims.layers):
            for part, letter in enumerate("kv"):
                context.place(f"new_{letter}.{i}", self._new.at(i, part))

    def __call__(
        self, cache: DeviceCache, ids: Sequence[int], media_index: Sequence[int], shown: Shown
    ) -> Floats:
        """Append `ids` to `cache`; logits (vocab,) of the last, valid until the next call."""
        self._fill(cache.length, ids, media_index)
        self._gpu.upload(self._host_numbers, self._numbers.address)
        key = (cache.rows.address, shown.k, shown.shape[2])
        if key in self.graphs:
            self._gpu.launch(self.graphs[key])
        else:
            self._run_and_capture(key, cache, shown)
        cache.append(self._new, len(ids))
        self._gpu.download(self._logits.address, self._host_logits)
        self._gpu.wait()
        return self._host_logits

    def _run_and_capture(self, key: tuple[int, ...], cache: DeviceCache, shown: Shown) -> None:
        """Run without a graph, as TensorRT wants after a change of shapes; then capture one."""
        past = (self._dims.heads, cache.capacity, self._dims.head_dim)
        for i in range(self._dims.layers):
            for part, letter in enumerate("kv"):
                self._context.bind(f"past_{letter}.{i}", past, cache.rows.at(i, part))
        self._context.bind("media_k", shown.shape, shown.k)
        self._context.bind("media_v", shown.shape, shown.v)
        self._context.enqueue()
        if len(self.graphs) >= GRAPHS_KEPT:
            self.graphs.clear()
        self.graphs[key] = self._gpu.capture(self._context.enqueue)

    def _fill(self, start: int, ids: Sequence[int], media_index: Sequence[int]) -> None:
        """The numbers of this run; what pads it comes after `ids`, at positions that exist."""
        input_ids, positions, index, logit_positions, past_len = self._host_numbers
        self._host_numbers[:] = 0
        input_ids[: len(ids)] = ids
        index[: len(ids)] = media_index
        last = self._dims.max_positions - 1
        positions[: self._count] = np.minimum(start + np.arange(self._count), last)
        logit_positions[0] = len(ids) - 1
        past_len[0] = start
