"""The engine on ONNX Runtime: three sessions, and K/V buffers that the graphs read in place.

A run is bound once per cache capacity and token count; a decode step then writes four numbers,
runs, and copies the new K/V into its slot. It does not know prompts, windows or answers.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from otter_runtime.bundle import Bundle, Manifest
from otter_runtime.engine import Cache, Engine, Floats, Media
from otter_runtime.errors import (
    EngineError,
    MissingExtra,
    PromptTooLong,
    TooManyImages,
    UserError,
)

CHUNK = 64
# Below this, a second thread costs a decoder more than it brings (waking it for every node).
THREADING_BYTES = 32 << 20
PROVIDERS = {
    "cpu": ("CPUExecutionProvider", "cpu"),
    "cuda": ("CUDAExecutionProvider", "gpu"),
    "tensorrt": ("TensorrtExecutionProvider", "gpu"),
}
QUIET = 3  # ONNX Runtime's log level: errors only


def open_engine(bundle: Bundle, threads: int | None = None, provider: str = "cpu") -> Engine:
    """The engine for `bundle` on ONNX Runtime's `provider` (cpu, cuda, tensorrt).

    `threads` None takes all cores where the weights are large, and one where they are not.
    Raises MissingExtra where onnxruntime is not installed, UserError where it lacks the provider.
    """
    return OnnxEngine(bundle, threads, provider)


class OnnxCache:
    """Self-attention K/V of one prompt, (layers, 2, heads, capacity, head_dim) float32."""

    def __init__(self, layers: int, heads: int, head_dim: int, capacities: Sequence[int]) -> None:
        self.length = 0
        self._capacities = sorted(capacities)
        self._sizes = (layers, heads, head_dim)
        self.runs: dict[int, Run] = {}
        self.kv = self._buffer(self._capacities[0])

    @property
    def capacity(self) -> int:
        """Tokens that fit without growing."""
        return int(self.kv.shape[3])

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
        old, self.kv = self.kv, self._buffer(larger)
        self.kv[:, :, :, : self.length] = old[:, :, :, : self.length]
        self.runs.clear()

    def append(self, new: Floats) -> None:
        """Take over new K/V (layers, 2, heads, n, head_dim)."""
        end = self.length + new.shape[3]
        self.kv[:, :, :, self.length : end] = new
        self.length = end

    def _buffer(self, capacity: int) -> Floats:
        # Zeros, not garbage: an empty slot is masked, but 0 · NaN would still be NaN.
        layers, heads, head_dim = self._sizes
        return np.zeros((layers, 2, heads, capacity, head_dim), np.float32)


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


class OnnxEngine:
    """A bundle's three graphs in ONNX Runtime sessions. Not for concurrent callers."""

    def __init__(self, bundle: Bundle, threads: int | None, provider: str) -> None:
        self.manifest = bundle.manifest
        self._bundle = bundle
        self._provider = provider
        self._threads: dict[str, int] = {}
        self._vision, self._resampler, self._decoder = (
            self._session(name, threads) for name in ("vision", "resampler", "decoder")
        )
        self._joined: tuple[tuple[Media, ...], Media] | None = None
        self._none = self._no_media()

    def encode(self, pixels: Floats) -> Floats:
        """Pixels (n, 3, H, W) to features (n, patches, dim)."""
        return self._run(self._vision, "vision", "pixels", pixels)[0]

    def resample(self, features: Floats) -> Media:
        """Features (F, patches, dim) of one medium's frames to its K and V."""
        limit = self.manifest.dims.resampler.max_frames
        if limit is not None and len(features) > limit:
            raise UserError(
                f"a window of {len(features)} frames, but the model tells {limit} apart; "
                f"set the window to at most {limit} frames"
            )
        k, v = self._run(self._resampler, "resampler", "features", features)
        return Media(k, v)

    def new_cache(self) -> OnnxCache:
        """An empty cache of the smallest capacity."""
        d = self.manifest.dims.decoder
        return OnnxCache(d.layers, d.heads, d.head_dim, self.manifest.capacities)

    def prefill(
        self, cache: Cache, ids: Sequence[int], media_index: Sequence[int], media: Sequence[Media]
    ) -> Floats:
        """Append tokens to `cache`; logits (vocab,) of the last, valid until the next call."""
        last: Floats = self.logits(cache, ids, media_index, media, last_only=True)[-1]
        return last

    def step(self, cache: Cache, token: int, media_index: int, media: Sequence[Media]) -> Floats:
        """Append one token; logits (vocab,), valid until the next call."""
        return self.prefill(cache, (token,), (media_index,), media)

    def logits(
        self,
        cache: Cache,
        ids: Sequence[int],
        media_index: Sequence[int],
        media: Sequence[Media],
        last_only: bool = False,
    ) -> Floats:
        """As `prefill`, with the logits of every token: (tokens, vocab)."""
        assert isinstance(cache, OnnxCache)
        self._check(cache, ids, media_index, media)
        shown = self._media(media)
        rows = []
        for at in range(0, len(ids), CHUNK):
            part = slice(at, at + CHUNK)
            run = self._bound(cache, len(ids[part]), 1 if last_only else len(ids[part]))
            rows.append(run(cache.length, ids[part], media_index[part], shown))
            cache.append(run.new)
            if not last_only:
                rows[-1] = rows[-1].copy()
        return rows[-1] if last_only else np.concatenate(rows)

    def describe(self) -> dict[str, Any]:
        """Backend, version, provider, threads and precisions."""
        import onnxruntime

        graphs = self.manifest.graphs
        return {
            "backend": "onnxruntime",
            "version": onnxruntime.__version__,
            "provider": self._provider,
            "threads": self._threads,
            "precision": {
                name: getattr(graphs, name).precision for name in ("vision", "resampler", "decoder")
            },
        }

    def _bound(self, cache: OnnxCache, count: int, rows: int) -> Run:
        run = cache.runs.get(count)
        if run is None or len(run.logits) != rows:
            # One for decoding and one for the last prefill; each holds its own K/V slice.
            for old in [n for n in cache.runs if n not in (1, count)]:
                del cache.runs[old]
            run = cache.runs[count] = Run(self._decoder, self.manifest, cache, count, rows)
        return run

    def _check(
        self,
        cache: OnnxCache,
        ids: Sequence[int],
        media_index: Sequence[int],
        media: Sequence[Media],
    ) -> None:
        if not ids or len(ids) != len(media_index):
            raise EngineError(
                f"{len(ids)} token ids with {len(media_index)} media indices; "
                "give as many of the one as of the other, and at least one"
            )
        vocab = self.manifest.dims.decoder.vocab
        if min(ids) < 0 or max(ids) >= vocab:
            raise EngineError(
                f"token ids are 0 to {vocab - 1}, got {min(ids)} to {max(ids)}; "
                "the tokenizer belongs to another model"
            )
        self._check_images(max(media_index), len(media))
        end, limit = cache.length + len(ids), self.manifest.dims.decoder.max_positions
        if end > limit:
            raise PromptTooLong(end, limit)
        cache.reserve(end)

    def _check_images(self, seen: int, media: int) -> None:
        if seen > media:
            raise TooManyImages(seen, media)

    def _media(self, media: Sequence[Media]) -> Media:
        """The media as one, side by side; joined anew only when they are others."""
        if len(media) == 1:
            return media[0]
        if not media:
            return self._none
        known = self._joined
        if (
            known is None
            or len(known[0]) != len(media)
            or any(a is not b for a, b in zip(known[0], media, strict=True))
        ):
            k = np.concatenate([medium.k for medium in media], axis=2)
            v = np.concatenate([medium.v for medium in media], axis=2)
            known = self._joined = (tuple(media), Media(k, v))
        return known[1]

    def _no_media(self) -> Media:
        d, latents = self.manifest.dims.decoder, self.manifest.dims.resampler.latents
        shape = (d.gated_layers, d.cross_heads, latents, d.cross_head_dim)
        return Media(np.zeros(shape, np.float32), np.zeros(shape, np.float32))

    def _run(self, session: Any, graph: str, name: str, array: Floats) -> list[Floats]:
        spec = getattr(self.manifest.graphs, graph).inputs[0].shape
        if array.ndim != len(spec) or any(
            isinstance(want, int) and got != want
            for got, want in zip(array.shape, spec, strict=True)
        ):
            raise EngineError(f"{name} should have shape {spec}, got {list(array.shape)}")
        outputs: list[Floats] = session.run(None, {name: array})
        return outputs

    def _session(self, name: str, threads: int | None) -> Any:
        onnxruntime, provider = _provider(self._provider)
        graph = getattr(self.manifest.graphs, name)
        path = self._bundle.path / graph.file
        options = onnxruntime.SessionOptions()
        options.log_severity_level = QUIET
        # Masked scores leave the softmax as denormals, which cost a processor a hundred times as
        # much as zeros: a third of a prefill, measured.
        options.add_session_config_entry("session.set_denormal_as_zero", "1")
        large = graph.data and (self._bundle.path / graph.data).stat().st_size > THREADING_BYTES
        self._threads[name] = threads or (_cores() if large else 1)
        options.intra_op_num_threads = self._threads[name]
        return onnxruntime.InferenceSession(str(path), options, providers=provider)


def _provider(name: str) -> tuple[Any, list[str]]:
    """onnxruntime and the providers to open a session with."""
    if name not in PROVIDERS:
        raise UserError(f"provider {name!r} is not one of {', '.join(PROVIDERS)}")
    wanted, extra = PROVIDERS[name]
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingExtra("onnxruntime", extra) from error
    available = onnxruntime.get_available_providers()
    if wanted not in available:
        raise UserError(
            f"this onnxruntime has no {wanted} (it has {', '.join(available)}); "
            f"run: pip install 'otter-edge[{extra}]'"
        )
    return onnxruntime, list(dict.fromkeys([wanted, "CPUExecutionProvider"]))


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
