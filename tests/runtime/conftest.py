"""What the runtime's tests share: a byte tokenizer, a tiny engine in numpy, and real clips."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray
from tests.runtime.run_process import Run, Start
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from otter_runtime.bundle import Manifest
from otter_runtime.engine import Floats, Media
from otter_runtime.frame import Frame, Stamp

SPECIALS = ["<|endofchunk|>", "<image>", "<answer>", "<PAD>"]
SIZE, WIDTH, VOCAB, LATENTS = 16, 12, 260, 3


class TinyCache:
    """One row per token: everything that its K/V would depend on."""

    def __init__(self) -> None:
        self.rows: list[Floats] = []

    @property
    def length(self) -> int:
        return len(self.rows)

    def truncate(self, length: int) -> None:
        assert length <= len(self.rows)
        del self.rows[length:]


class TinyEngine:
    """A model small enough to read: logits depend on every token, its place and its medium."""

    rows = 64

    def __init__(self) -> None:
        random = np.random.default_rng(7)
        self.embed = random.normal(size=(VOCAB, WIDTH)).astype(np.float32)
        self.see = random.normal(size=(3 * SIZE * SIZE, WIDTH)).astype(np.float32)
        self.calls: list[str] = []

    def encode(self, pixels: Floats) -> Floats:
        self.calls.append("encode")
        flat: Floats = pixels.reshape(len(pixels), -1) @ self.see
        return flat[:, None, :]

    def resample(self, features: Floats) -> Media:
        self.calls.append("resample")
        order = np.arange(1, len(features) + 1, dtype=np.float32)[:, None, None]
        k = np.repeat(np.tanh(features * order).mean(0)[None, None], LATENTS, axis=2)
        return Media(k, -k)

    def new_cache(self) -> TinyCache:
        return TinyCache()

    def prefill(
        self, cache: Any, ids: Sequence[int], media_index: Sequence[int], media: Sequence[Media]
    ) -> Floats:
        self.calls.append(f"prefill {len(ids)}")
        return self._append(cache, ids, media_index, media)

    def logits(
        self, cache: Any, ids: Sequence[int], media_index: Sequence[int], media: Sequence[Media]
    ) -> Floats:
        self.calls.append(f"logits {len(ids)}")
        rows = [
            self._append(cache, [token], [index], media)
            for token, index in zip(ids, media_index, strict=True)
        ]
        return np.stack(rows)

    def step(self, cache: Any, token: int, media_index: int, media: Sequence[Media]) -> Floats:
        self.calls.append("step")
        return self._append(cache, [token], [media_index], media)

    def describe(self) -> dict[str, Any]:
        return {"backend": "tiny"}

    def _append(
        self, cache: Any, ids: Sequence[int], media_index: Sequence[int], media: Sequence[Media]
    ) -> Floats:
        for token, index in zip(ids, media_index, strict=True):
            seen = media[index - 1].k.mean((0, 1, 2)) if index else np.zeros(WIDTH, np.float32)
            cache.rows.append(np.tanh(self.embed[token] * (1 + len(cache.rows)) + 3 * seen))
        state = np.tanh(np.sum(cache.rows, 0))
        logits: Floats = self.embed @ state
        return logits


@pytest.fixture
def engine() -> TinyEngine:
    return TinyEngine()


def byte_tokenizer() -> Tokenizer:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    made = Tokenizer(models.BPE(vocab={c: i for i, c in enumerate(alphabet)}, merges=[]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens(SPECIALS)
    return made


@pytest.fixture
def tokenizer() -> Tokenizer:
    return byte_tokenizer()


@pytest.fixture
def manifest() -> Manifest:
    graph: dict[str, Any] = {"file": "g.onnx", "data": None, "precision": "fp32", "opset": 20}
    graph |= {"inputs": [], "outputs": []}
    sizes = {"layers": 1, "gated_layers": 1, "heads": 1, "head_dim": 1, "dim": 1, "vocab": VOCAB}
    sizes |= {"max_positions": 256, "cross_heads": 1, "cross_head_dim": 1}
    return msgspec.convert(
        {
            "format": 1,
            "name": "bytes",
            "family": "mpt",
            "dims": {
                "vision": {"image_size": SIZE, "patch_size": 8, "patches": 1, "dim": WIDTH},
                "resampler": {"latents": LATENTS},
                "decoder": sizes,
            },
            "capacities": [128],
            "prompt": {},
            "tokens": {"image": 257, "answer": 258, "endofchunk": 256, "pad": 259},
            "decoding": {"max_new_tokens": 12, "no_repeat_ngram": 3},
            "preprocess": {"size": SIZE},
            "window": {"frames": 4, "rate_hz": 4},
            "tokenizer": None,
            "graphs": {"vision": graph, "resampler": graph, "decoder": graph},
            "files": {},
        },
        Manifest,
    )


MakeFrame = Callable[..., Frame]


@pytest.fixture
def frame() -> MakeFrame:
    def make(number: int, scene: int = 0, seed: int | None = None) -> Frame:
        random = np.random.default_rng(number if seed is None else seed)
        stamp = Stamp(
            id=number,
            scene=scene,
            source="clip.avi",
            index=number,
            stream_ns=number * 250_000_000,
            mono_ns=number * 250_000_000,
            wall_ns=number,
        )
        return Frame(stamp, random.integers(40, 255, (SIZE, SIZE, 3), dtype=np.uint8))

    return make


MakeVideo = Callable[..., Path]


@pytest.fixture
def video(tmp_path: Path) -> MakeVideo:
    """A real motion-JPEG file whose frame i has the grey level 40 + 5 i (modulo 200)."""

    def make(name: str = "clip.avi", frames: int = 8, rate_hz: float = 4.0) -> Path:
        path = tmp_path / name
        codec = cv2.VideoWriter.fourcc(*"MJPG")
        writer = cv2.VideoWriter(str(path), codec, rate_hz, (64, 64))
        for index in range(frames):
            writer.write(grey(40 + 5 * index % 200))
        writer.release()
        return path

    return make


def grey(level: int) -> NDArray[np.uint8]:
    return np.full((64, 64, 3), level, np.uint8)


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small random Otter as an int8 bundle: real graphs, 24 bytes an answer."""
    return random_bundle(tmp_path_factory.mktemp("bundle"), "int8", (128,))


@pytest.fixture(scope="session")
def fp32_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same network in fp32, with caches that grow once."""
    return random_bundle(tmp_path_factory.mktemp("fp32"), "fp32", (128, 256))


def random_bundle(folder: Path, precision: str, capacities: tuple[int, ...]) -> Path:
    from otter_export.bundle_writer import Export
    from otter_export.sample import random_samples
    from otter_export.settings import Settings
    from otter_model.checkpoint import Checkpoint
    from otter_model.config import (
        DecoderConfig,
        OtterConfig,
        PerceiverConfig,
        Tokens,
        VisionConfig,
    )
    from otter_model.random_weights import RandomTensors
    from otter_runtime.bundle import Decoding, WindowDefaults

    config = OtterConfig(
        vision=VisionConfig(image_size=32, patch_size=8, dim=32, layers=2, heads=2, mlp_dim=64),
        perceiver=PerceiverConfig(
            dim=32, depth=1, latents=8, heads=2, head_dim=16, ff_mult=2, max_frames=4
        ),
        decoder=DecoderConfig(
            family="mpt",
            dim=32,
            layers=2,
            heads=2,
            mlp_dim=64,
            vocab=VOCAB,
            cross_attn_every=1,
            max_positions=256,
            cross_heads=2,
            cross_head_dim=16,
        ),
        tokens=Tokens(image=257, answer=258, endofchunk=256, pad=259, bos=None),
    )
    byte_tokenizer().save(str(folder / "tokenizer.json"))
    checkpoint = Checkpoint(config, RandomTensors(config), folder / "tokenizer.json")
    settings = Settings(
        name="random",
        decoding=Decoding(max_new_tokens=24, no_repeat_ngram=3),
        window=WindowDefaults(frames=4, rate_hz=4.0),
        capacities=capacities,
    )
    samples = random_samples(config, 2, frames=4)
    name = f"random-{precision}"
    return Export(checkpoint, precision, samples, settings, threads=1).write(folder / name).path


@pytest.fixture
def folder() -> Iterator[Path]:
    # Not tmp_path: a socket's path is short, and its folder private.
    with tempfile.TemporaryDirectory(prefix="otter-test-") as name:
        yield Path(name)


@pytest.fixture
def start(folder: Path, bundle: Path) -> Iterator[Start]:
    runs: list[Run] = []

    def begin(*words: str, env: dict[str, str] | None = None) -> Run:
        runs.append(Run(folder, bundle, *words, env=env))
        return runs[-1]

    yield begin
    for run in runs:
        run.close()
