"""How long each stage of an engine takes: the first time in a process, and once it is warm.

It knows engines, not devices; noise is as good as a picture here.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

import msgspec
import numpy as np

from otter_runtime.bundle import Bundle
from otter_runtime.engine import Engine
from otter_runtime.onnx_engine import CHUNK
from otter_runtime.preprocess import Preprocessor

FRAME = (720, 1280, 3)
DECODED = 48
NAMES = ("preprocess", "encode", "resample", "prefill", "decode")

Step = Callable[[], object]
Progress = Callable[[str, int, int], None]
Spans = list[float]  # seconds


class Timing(msgspec.Struct, frozen=True, kw_only=True):
    """Milliseconds: of the first run in the process, then median and 99th percentile of `runs`."""

    cold_ms: float
    median_ms: float
    p99_ms: float
    runs: int


class Stages:
    """The stages of one engine, on noise of a camera's size; `media_bytes` is one medium's K/V."""

    def __init__(
        self, bundle: Bundle, engine: Engine, frames: int | None = None, tokens: int = CHUNK
    ) -> None:
        manifest = bundle.manifest
        random = np.random.default_rng(0)
        room = manifest.dims.decoder.max_positions - DECODED - 1
        self._engine, self._tokens = engine, min(tokens, room)
        self._count = frames or manifest.window.frames
        self._frame = random.integers(0, 255, FRAME, np.uint8)
        self._to_pixels = Preprocessor(manifest.preprocess)
        self._ids = random.integers(5, manifest.dims.decoder.vocab // 2, self._tokens).tolist()
        self.cache = engine.new_cache()

    def preprocess(self) -> None:
        """A camera's frame to pixels."""
        self._pixels = self._to_pixels(self._frame)[None]

    def encode(self) -> None:
        """One frame."""
        self._features = self._engine.encode(self._pixels)

    def resample(self) -> None:
        """A window of frames."""
        window = np.repeat(self._features, self._count, axis=0)
        self._medium = self._engine.resample(window)

    def prefill(self) -> None:
        """A prompt from its first token on."""
        self.cache.truncate(0)
        self._engine.prefill(self.cache, self._ids, [1] * self._tokens, [self._medium])

    def decode(self) -> None:
        """One token."""
        if self.cache.length >= self._tokens + DECODED:
            self.cache.truncate(self._tokens)
        self._engine.step(self.cache, 7, 1, [self._medium])

    @property
    def media_bytes(self) -> int:
        """K and V of one medium."""
        return self._medium.k.nbytes + self._medium.v.nbytes

    def measure(self, budget_s: float, progress: Progress) -> dict[str, Timing]:
        """Each stage cold and warm, within about `budget_s`; to be asked once per process."""
        steps: list[Step] = [getattr(self, name) for name in NAMES]
        # All of them cold before any is warm: a robot's first answer goes this way.
        cold = [timed_once(step) for step in steps]
        timings = {}
        for at, (name, step) in enumerate(zip(NAMES, steps, strict=True)):
            progress(name, at, len(NAMES))
            timings[name] = timing(cold[at], timed(step, budget_s))
        progress(NAMES[-1], len(NAMES), len(NAMES))
        return timings


def timed_once(step: Step) -> float:
    """Seconds of one run."""
    begun = time.perf_counter()
    step()
    return time.perf_counter() - begun


def timed(step: Step, budget_s: float) -> Spans:
    """Seconds of each run after one to warm up: 5 to 300 runs, as many as the budget allows."""
    step()
    spans: Spans = []
    end = time.perf_counter() + budget_s
    while len(spans) < 5 or (len(spans) < 300 and time.perf_counter() < end):
        spans.append(timed_once(step))
    return spans


def timing(cold_s: float, spans: Iterable[float]) -> Timing:
    """The figures of one stage, from seconds."""
    values = np.array(list(spans)) * 1e3
    median, p99 = np.percentile(values, [50, 99])
    return Timing(
        cold_ms=round(cold_s * 1e3, 4),
        median_ms=round(float(median), 4),
        p99_ms=round(float(p99), 4),
        runs=len(values),
    )
