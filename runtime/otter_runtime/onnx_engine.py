"""The engine on ONNX Runtime: a session per graph, media side by side, limits held.

How the decoder's buffers are bound is `onnx_cache`'s; prompts, windows and answers are not known
here.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from otter_runtime.bundle import Bundle
from otter_runtime.engine import Cache, Engine, Floats, Media
from otter_runtime.errors import BundleError, MissingExtra, UserError
from otter_runtime.limits import check_call, check_frames, check_shape
from otter_runtime.onnx_cache import OnnxCache, Run

CHUNK = 64
# Below this, a second thread costs a decoder more than it brings (waking it for every node).
THREADING_BYTES = 32 << 20
PROVIDERS = {
    "cpu": ("CPUExecutionProvider", "cpu"),
    "cuda": ("CUDAExecutionProvider", "gpu"),
    "tensorrt": ("TensorrtExecutionProvider", "gpu"),
}
NATIVE = "tensorrt-native"
# int4 weights meet float activations, as on a GPU. ONNX Runtime's default rounds activations to
# int8 by their own blocks: faster, but results then depend on how a prompt was cut into chunks.
FLOAT_ACTIVATIONS = ("session.qdq_matmulnbits_accuracy_level", "1")
QUIET = 3  # ONNX Runtime's log level: errors only


def open_engine(bundle: Bundle, threads: int | None = None, provider: str = "cpu") -> Engine:
    """The engine for `bundle` on ONNX Runtime's `provider` (cpu, cuda, tensorrt), or on TensorRT.

    `threads` None takes all cores where the weights are large, and one where they are not.
    `tensorrt-native` needs an engine that `otter-edge build` has built on this device.
    Raises MissingExtra where onnxruntime is not installed, UserError where it lacks the provider.
    """
    if provider == NATIVE:
        from otter_runtime.trt.engine import open_native

        return open_native(bundle)
    return OnnxEngine(bundle, threads, provider)


class OnnxEngine:
    """A bundle's three graphs in ONNX Runtime sessions. Not for concurrent callers."""

    rows = CHUNK

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
        check_frames(self.manifest, len(features))
        k, v = self._run(self._resampler, "resampler", "features", features)
        return Media(k, v)

    def new_cache(self) -> OnnxCache:
        """An empty cache of the smallest capacity."""
        return OnnxCache(self.manifest.dims.decoder, self.manifest.capacities)

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
        self._check(cache.length, ids, media_index, len(media))
        cache.reserve(cache.length + len(ids))
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

    def _check(self, held: int, ids: Sequence[int], media_index: Sequence[int], media: int) -> None:
        check_call(self.manifest, held, ids, media_index, media)

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
            # Binding costs more than running a small decoder, and each holds its own K/V slice:
            # the one for decoding stays, of the others the newest, two chunks' tokens in all.
            for old in [n for n in cache.runs if n not in (1, count)]:
                if sum(cache.runs) + count > 2 * CHUNK:
                    del cache.runs[old]
            run = cache.runs[count] = Run(self._decoder, self.manifest, cache, count, rows)
        return run

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
        check_shape(getattr(self.manifest.graphs, graph), array)
        outputs: list[Floats] = session.run(None, {name: array})
        return outputs

    def _session(self, name: str, threads: int | None) -> Any:
        onnxruntime, providers = _provider(self._provider)
        graph = getattr(self.manifest.graphs, name)
        path = self._bundle.path / graph.file
        options = onnxruntime.SessionOptions()
        options.log_severity_level = QUIET
        # Masked scores leave the softmax as denormals, which cost a processor a hundred times as
        # much as zeros: a third of a prefill, measured.
        options.add_session_config_entry("session.set_denormal_as_zero", "1")
        options.add_session_config_entry(*FLOAT_ACTIVATIONS)
        large = graph.data and (self._bundle.path / graph.data).stat().st_size > THREADING_BYTES
        self._threads[name] = threads or (_cores() if large else 1)
        options.intra_op_num_threads = self._threads[name]
        try:
            session = onnxruntime.InferenceSession(
                str(path), options, providers=providers, provider_options=self._options(name)
            )
        except Exception as error:  # its errors share no base of their own
            raise BundleError(
                f"{path} cannot be loaded by onnxruntime {onnxruntime.__version__} "
                f"({str(error).splitlines()[0]}); export the bundle again"
            ) from error
        # Where the provider's libraries do not load, it falls back to the processor in silence.
        if providers[0] not in session.get_providers():
            raise UserError(
                f"onnxruntime {onnxruntime.__version__} could not start {providers[0]}, above it "
                "says why; install the CUDA and cuDNN that it was built with, or take provider: cpu"
            )
        return session

    def _options(self, name: str) -> list[dict[str, str]] | None:
        """Options of each provider, in their order; None for their defaults."""
        if self._provider != "tensorrt":
            return None
        from otter_runtime.trt.provider import provider_options

        _, providers = _provider(self._provider)
        return [provider_options(self._bundle, name), *({} for _ in providers[1:])]


def _provider(name: str) -> tuple[Any, list[str]]:
    """onnxruntime and the providers to open a session with."""
    if name not in PROVIDERS:
        raise UserError(f"provider {name!r} is not one of {', '.join([*PROVIDERS, NATIVE])}")
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
    # What TensorRT does not take, CUDA does.
    between = ["CUDAExecutionProvider"] if name == "tensorrt" else []
    rest = [other for other in between if other in available]
    return onnxruntime, list(dict.fromkeys([wanted, *rest, "CPUExecutionProvider"]))


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
