"""The engine on TensorRT itself: everything stays on the GPU but token ids and logits.

A decode step copies a few hundred bytes in, launches one CUDA graph, moves the new K/V into the
cache with one strided copy and copies the logits out. Prompts and windows are not known here.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from otter_runtime.bundle import GRAPHS, Bundle, DecoderDims, Graph, Manifest
from otter_runtime.engine import Cache, Engine, Floats, Media
from otter_runtime.errors import EngineError, UserError
from otter_runtime.limits import check_call, check_frames, check_shape
from otter_runtime.onnx_engine import CHUNK
from otter_runtime.trt.cache import DeviceCache, Rows
from otter_runtime.trt.gpu import ALIGNMENT, Buffer, Captured, Gpu, aligned
from otter_runtime.trt.plans import Plans, tensorrt
from otter_runtime.trt.profiles import MOST_MEDIA, profile_index

# Sets of media kept on the GPU: a question, a standing instruction, and the window before.
MEDIA_KEPT = 4
# Graphs kept per program; one for each cache and set of media in use.
GRAPHS_KEPT = 16
INTS = ("input_ids", "positions", "media_index", "logit_positions", "past_len")


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
        self._gpu = gpu
        self._version = trt.__version__
        self._runtime = trt.Runtime(trt.Logger(trt.Logger.WARNING))
        self._engines = {name: self._engine(plans, name) for name in GRAPHS}
        graphs = self.manifest.graphs
        # Memory for the one profile that a context runs, not for the largest of all.
        self._lean = trt.ExecutionContextAllocationStrategy.ON_PROFILE_CHANGE
        self._vision = Feed(gpu, self._context("vision", 0), graphs.vision)
        self._resampler = Feed(gpu, self._context("resampler", 0), graphs.resampler)
        self._programs: dict[tuple[int, int], Program] = {}
        self._shown: OrderedDict[tuple[int, ...], Shown] = OrderedDict()

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
        shown = self._show(media)
        for at in range(0, len(ids), CHUNK):
            part = slice(at, at + CHUNK)
            program = self._program(cache.capacity, len(ids[part]))
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
            "version": self._version,
            "provider": "tensorrt-native",
            "gpu": self._gpu.name,
            "cuda_graphs": sum(len(program.graphs) for program in self._programs.values()),
            "precision": {name: getattr(graphs, name).precision for name in GRAPHS},
        }

    def _engine(self, plans: Plans, name: str) -> Any:
        engine = self._runtime.deserialize_cuda_engine(plans.read(name))
        if engine is None:
            raise UserError(
                f"TensorRT {self._version} cannot load {plans.folder / name}.plan; "
                "run `otter-edge build --rebuild` on this device"
            )
        return engine

    def _context(self, name: str, profile: int) -> Any:
        """An execution context for one profile; two contexts may not share one."""
        gpu = self._gpu
        context = self._engines[name].create_execution_context(self._lean)
        if context is None or not context.set_optimization_profile_async(profile, int(gpu.stream)):
            raise EngineError("TensorRT gives no execution context; memory may have run out")
        gpu.wait()
        return context

    def _program(self, capacity: int, tokens: int) -> Program:
        count = 1 if tokens == 1 else CHUNK
        if (capacity, count) not in self._programs:
            context = self._context("decoder", profile_index(self.manifest, capacity, count))
            self._programs[capacity, count] = Program(
                self._gpu, context, self.manifest.dims.decoder, capacity, count
            )
        return self._programs[capacity, count]

    def _show(self, media: Sequence[Media]) -> Shown:
        """The media side by side on the GPU; copied there when they are first asked about."""
        if len(media) > MOST_MEDIA:
            raise UserError(
                f"a prompt shows {len(media)} media, the engine is built for {MOST_MEDIA}; "
                "give fewer examples"
            )
        key = tuple(id(medium) for medium in media)
        if key in self._shown:
            self._shown.move_to_end(key)
            return self._shown[key]
        # The oldest gives its memory: at the same address, its graphs go on being replayed.
        old = self._shown.popitem(last=False)[1] if len(self._shown) == MEDIA_KEPT else None
        self._shown[key] = Shown.upload(self._gpu, self.manifest, media, old)
        return self._shown[key]


@dataclass(frozen=True, eq=False)
class Shown:
    """K and V of several media on the GPU; `media` keeps their identities from being reused."""

    media: tuple[Media, ...]
    buffer: Buffer
    shape: tuple[int, ...]  # (gated layers, heads, media tokens, head_dim)
    v_offset: int

    @classmethod
    def upload(
        cls, gpu: Gpu, manifest: Manifest, media: Sequence[Media], old: Shown | None
    ) -> Shown:
        """Copy `media` into the memory of `old`, or into new memory."""
        d, latents = manifest.dims.decoder, manifest.dims.resampler.latents
        shape = (d.gated_layers, d.cross_heads, latents, d.cross_head_dim)
        half = aligned(int(np.prod(shape)) * MOST_MEDIA * 4)
        buffer = old.buffer if old is not None else gpu.buffer(2 * half)
        given = list(media) or [Media(np.zeros(shape, np.float32), np.zeros(shape, np.float32))]
        k = np.concatenate([medium.k for medium in given], axis=2)
        v = np.concatenate([medium.v for medium in given], axis=2)
        gpu.upload(k, buffer.address)
        gpu.upload(v, buffer.address + half)
        gpu.wait()  # before the arrays go
        return cls(tuple(media), buffer, k.shape, half)


class Program:
    """The decoder for `count` tokens against one capacity: its context, buffers and graphs."""

    def __init__(self, gpu: Gpu, context: Any, d: DecoderDims, capacity: int, count: int) -> None:
        self.graphs: dict[tuple[int, ...], Captured] = {}
        self._gpu, self._dims, self._count = gpu, d, count
        self._most = d.max_positions - 1
        self._context = context
        self._rows, self._past = Rows(d, count), Rows(d, capacity)
        self._new = gpu.buffer(self._rows.nbytes)
        self._slot = aligned(count * 8)
        self._ints = gpu.buffer(len(INTS) * self._slot)
        self._host_ints = gpu.pinned((len(INTS), self._slot // 8), np.int64)
        self._host_ints[:] = 0
        self._logits = gpu.buffer(d.vocab * 4)
        self._host_logits = gpu.pinned((d.vocab,), np.float32)
        for at, name in enumerate(INTS):
            length = 1 if name in INTS[3:] else count
            self._bind(name, (length,), self._ints.address + at * self._slot)
        self._address("logits", self._logits.address)
        for i in range(d.layers):
            for part, letter in enumerate("kv"):
                self._address(f"new_{letter}.{i}", self._new.address + self._rows.offset(i, part))

    def __call__(
        self, cache: DeviceCache, ids: Sequence[int], media_index: Sequence[int], shown: Shown
    ) -> Floats:
        """Append `ids` to `cache`; logits (vocab,) of the last, valid until the next call."""
        self._fill(cache.length, ids, media_index)
        self._gpu.upload(self._host_ints, self._ints.address)
        key = (cache.buffer.address, shown.buffer.address, shown.shape[2])
        if key in self.graphs:
            self._gpu.launch(self.graphs[key])
        else:
            self._first(key, cache, shown)
        cache.append(self._new, self._rows, len(ids))
        self._gpu.download(self._logits.address, self._host_logits)
        self._gpu.wait()
        logits: Floats = self._host_logits
        return logits

    def _first(self, key: tuple[int, ...], cache: DeviceCache, shown: Shown) -> None:
        """Run without a graph, as TensorRT wants after a change of shapes; then capture one."""
        for i in range(self._dims.layers):
            for part, letter in enumerate("kv"):
                shape = (self._dims.heads, cache.capacity, self._dims.head_dim)
                address = cache.buffer.address + self._past.offset(i, part)
                self._bind(f"past_{letter}.{i}", shape, address)
        self._bind("media_k", shown.shape, shown.buffer.address)
        self._bind("media_v", shown.shape, shown.buffer.address + shown.v_offset)
        self._enqueue()
        if len(self.graphs) >= GRAPHS_KEPT:
            self.graphs.clear()
        self.graphs[key] = self._gpu.capture(self._enqueue)

    def _fill(self, start: int, ids: Sequence[int], media_index: Sequence[int]) -> None:
        """Token ids, positions and so on; what pads a chunk comes after it, and is not seen."""
        host, used = self._host_ints, len(ids)
        host[:, : self._count] = 0
        host[0, :used] = ids
        host[1, : self._count] = np.minimum(start + np.arange(self._count), self._most)
        host[2, :used] = media_index
        host[3, 0] = used - 1
        host[4, 0] = start

    def _bind(self, name: str, shape: tuple[int, ...], address: int) -> None:
        if not self._context.set_input_shape(name, shape):
            raise EngineError(f"the engine takes no {name} of shape {shape}; build it again")
        self._address(name, address)

    def _address(self, name: str, address: int) -> None:
        assert address % ALIGNMENT == 0
        if not self._context.set_tensor_address(name, address):
            raise EngineError(f"the engine has no {name}; build it again")

    def _enqueue(self) -> None:
        _enqueue(self._gpu, self._context)


class Feed:
    """A plan with one input: array in, arrays out."""

    def __init__(self, gpu: Gpu, context: Any, graph: Graph) -> None:
        self._gpu, self._context, self._graph = gpu, context, graph
        self._buffers: dict[str, Buffer] = {}

    def __call__(self, array: Floats) -> list[Floats]:
        """The outputs for `array`."""
        array = np.ascontiguousarray(array, np.float32)
        name = self._graph.inputs[0].name
        if not self._context.set_input_shape(name, array.shape):
            raise EngineError(f"the engine takes no {name} of shape {array.shape}; build it again")
        self._gpu.upload(array, self._place(name, array.nbytes))
        outputs: list[Floats] = []
        for spec in self._graph.outputs:
            shape = tuple(self._context.get_tensor_shape(spec.name))
            outputs.append(np.empty(shape, np.float32))
            self._place(spec.name, outputs[-1].nbytes)
        _enqueue(self._gpu, self._context)
        for spec, output in zip(self._graph.outputs, outputs, strict=True):
            self._gpu.download(self._buffers[spec.name].address, output)
        self._gpu.wait()
        return outputs

    def _place(self, name: str, nbytes: int) -> int:
        known = self._buffers.get(name)
        if known is None or known.nbytes < nbytes:
            known = self._buffers[name] = self._gpu.buffer(nbytes)
        if not self._context.set_tensor_address(name, known.address):
            raise EngineError(f"the engine has no {name}; build it again")
        return known.address


def _enqueue(gpu: Gpu, context: Any) -> None:
    if not context.execute_async_v3(int(gpu.stream)):
        raise EngineError("TensorRT could not run, above it says why; restart the program")
