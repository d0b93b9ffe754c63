"""The engine on TensorRT itself: everything stays on the GPU but token ids and logits.

Which plan runs, with which profile, is decided here; `program` runs the decoder, `feed` the other
two. Prompts and windows are not known here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from otter_runtime.bundle import GRAPHS, Bundle
from otter_runtime.engine import Cache, Engine, Floats, Media
from otter_runtime.errors import UserError
from otter_runtime.limits import check_call, check_frames, check_shape
from otter_runtime.onnx_engine import CHUNK
from otter_runtime.trt.cache import DeviceCache
from otter_runtime.trt.context import Context
from otter_runtime.trt.feed import Feed
from otter_runtime.trt.gpu import Gpu
from otter_runtime.trt.media_shelf import MediaShelf
from otter_runtime.trt.plans import Plans, tensorrt
from otter_runtime.trt.profiles import profile_index
from otter_runtime.trt.program import Program


def open_native(bundle: Bundle) -> Engine:
    """The engine for `bundle` on this device's GPU.

    Raises UserError where TensorRT, a GPU or a built engine is missing.
    """
    trt, gpu = tensorrt(), Gpu()
    return NativeEngine(bundle, Plans.open(bundle, gpu.name, trt.__version__), trt, gpu)


class NativeEngine:
    """A bundle's three plans. Not for concurrent callers."""

    rows = 1  # the plans' head sees a chunk's last token only

    def __init__(self, bundle: Bundle, plans: Plans, trt: Any, gpu: Gpu) -> None:
        self.manifest = bundle.manifest
        self._trt, self._gpu = trt, gpu
        self._runtime = trt.Runtime(trt.Logger(trt.Logger.WARNING))  # outlives its engines
        vision, resampler, self._decoder = (self._load(plans, name) for name in GRAPHS)
        graphs = self.manifest.graphs
        self._vision = Feed(gpu, Context(trt, gpu, vision), graphs.vision)
        self._resampler = Feed(gpu, Context(trt, gpu, resampler), graphs.resampler)
        self._shelf = MediaShelf(gpu, self.manifest)
        self._programs: dict[tuple[int, int], Program] = {}

    def encode(self, pixels: Floats) -> Floats:
        """Pixels (n, 3, H, W) to features (n, patches, dim); one frame at a time."""
        check_shape(self.manifest.graphs.vision, pixels)
        return np.concatenate([self._vision(frame[None])[0] for frame in pixels])

    def resample(self, features: Floats) -> Media:
        """Features (F, patches, dim) of one medium's frames to its K and V."""
        check_frames(self.manifest, len(features))
        check_shape(self.manifest.graphs.resampler, features)
        return Media(*self._resampler(features))

    def new_cache(self) -> DeviceCache:
        """An empty cache of the smallest capacity."""
        return DeviceCache(self._gpu, self.manifest.dims.decoder, self.manifest.capacities)

    def prefill(
        self, cache: Cache, ids: Sequence[int], media_index: Sequence[int], media: Sequence[Media]
    ) -> Floats:
        """Append tokens to `cache`; logits (vocab,) of the last, valid until the next call."""
        assert isinstance(cache, DeviceCache)
        check_call(self.manifest, cache.length, ids, media_index, len(media))
        cache.reserve(cache.length + len(ids))
        shown = self._shelf.show(media)
        for at in range(0, len(ids), CHUNK):
            part = slice(at, at + CHUNK)
            program = self._program(cache.capacity, 1 if len(ids[part]) == 1 else CHUNK)
            logits = program(cache, ids[part], media_index[part], shown)
        return logits

    def logits(
        self, cache: Cache, ids: Sequence[int], media_index: Sequence[int], media: Sequence[Media]
    ) -> Floats:
        """As `prefill`, with the logits of every token, (tokens, vocab): one run for each."""
        rows = zip(ids, media_index, strict=True)
        return np.stack([self.step(cache, token, index, media).copy() for token, index in rows])

    def step(self, cache: Cache, token: int, media_index: int, media: Sequence[Media]) -> Floats:
        """Append one token; logits (vocab,), valid until the next call."""
        return self.prefill(cache, (token,), (media_index,), media)

    def describe(self) -> dict[str, Any]:
        """Backend, version, GPU, precisions, and whether CUDA graphs are replayed."""
        graphs = self.manifest.graphs
        return {
            "backend": "tensorrt",
            "version": self._trt.__version__,
            "provider": "tensorrt-native",
            "gpu": self._gpu.name,
            "cuda_graphs": sum(len(program.graphs) for program in self._programs.values()),
            "precision": {name: getattr(graphs, name).precision for name in GRAPHS},
        }

    def _load(self, plans: Plans, name: str) -> Any:
        engine = self._runtime.deserialize_cuda_engine(plans.read(name))
        if engine is None:
            raise UserError(
                f"TensorRT {self._trt.__version__} cannot load {plans.folder / name}.plan; "
                "run `otter-edge build --rebuild` on this device"
            )
        return engine

    def _program(self, capacity: int, count: int) -> Program:
        """The decoder for `count` tokens against `capacity`; made when it is first wanted."""
        if (capacity, count) not in self._programs:
            profile = profile_index(self.manifest, capacity, count)
            context = Context(self._trt, self._gpu, self._decoder, profile)
            program = Program(self._gpu, context, self.manifest.dims.decoder, count)
            self._programs[capacity, count] = program
        return self._programs[capacity, count]
