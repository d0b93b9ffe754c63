"""How long our runtime takes for one answer: the other child of against_reference.py.

The step loop runs on the real clock with a window of 16 frames, as in the brain's process; the bus
is not in it (under a millisecond). A *warm* answer is what a running assistant gives: the window's
frames were encoded as they came, a new one has just moved it, so its K/V is resampled and the whole
prompt prefilled. A *cold* one begins with 16 pictures of a scene that was never seen. The last line
printed is JSON.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from latency import decode_bytes
from numpy.typing import NDArray

from otter_runtime.bundle import Bundle, Decoding
from otter_runtime.clock import RealClock
from otter_runtime.decoding import Decoder
from otter_runtime.engine import Cache, Engine, Floats, Media
from otter_runtime.frame import Frame, Stamp
from otter_runtime.loop import StepLoop
from otter_runtime.onnx_engine import open_engine
from otter_runtime.preprocess import Preprocessor
from otter_runtime.prompt import render
from otter_runtime.wire import Ask, Said

FRAMES = 16
NO_REPEAT_NGRAM = 3
ROWS = (1, 2, 4, 8, 16)
QUESTION = "What do I do now?"  # as bytes and in the template: 30 tokens
Picture = NDArray[np.uint8]


class Noting:
    """An engine that notes the cache it was last given, and with a decoder what follows."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.cache: Cache = engine.new_cache()
        self.decoder: Decoder | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def prefill(
        self, cache: Cache, ids: Sequence[int], media_index: Sequence[int], media: Sequence[Media]
    ) -> Floats:
        """As the engine's."""
        return self._note(cache, self._engine.prefill(cache, ids, media_index, media))

    def step(self, cache: Cache, token: int, media_index: int, media: Sequence[Media]) -> Floats:
        """As the engine's."""
        return self._note(cache, self._engine.step(cache, token, media_index, media))

    def _note(self, cache: Cache, logits: Floats) -> Floats:
        self.cache = cache
        if self.decoder is not None:
            self.decoder.next(logits)
        return logits


class Assistant:
    """The step loop over one bundle, and pictures to show it."""

    def __init__(self, bundle: Bundle, threads: int, tokens: int) -> None:
        """An answer always has `tokens` tokens, greedy under the n-gram rule of Otter's demos."""
        manifest = bundle.manifest
        decoding = Decoding(
            max_new_tokens=tokens,
            no_repeat_ngram=NO_REPEAT_NGRAM,
            bad_words=[],
            stop_ids=[manifest.dims.decoder.vocab],
        )
        self.bundle = bundle
        self.manifest = msgspec.structs.replace(manifest, decoding=decoding)
        self.tokenizer = bundle.tokenizer()
        self.prompt = render(manifest, self.tokenizer, QUESTION).ids
        self.engine = Noting(open_engine(bundle, threads))
        self.loop = StepLoop(
            self.engine, self.manifest, self.tokenizer, RealClock(), window_frames=FRAMES
        )
        self._shown = 0

    def show(self, picture: Picture, scene: int) -> None:
        """Preprocess and encode one picture."""
        self._shown += 1
        stamp = Stamp(
            id=self._shown, scene=scene, source="", index=0, stream_ns=0, mono_ns=0, wall_ns=0
        )
        self.loop.show(Frame(stamp, picture))
        while not self.loop.idle:
            self.loop.step()

    def ask(self) -> Said:
        """The answer to the question, with its timing."""
        self.loop.ask(Ask(id="question", text=QUESTION))
        while True:
            for event in self.loop.step():
                if isinstance(event, Said):
                    return event

    def ids(self) -> list[int]:
        """The answer's tokens; choosing them twice costs time, so this answer is not measured."""
        self.engine.decoder = decoder = Decoder(
            self.manifest.decoding, self.manifest.tokens, self.prompt
        )
        self.ask()
        self.engine.decoder = None
        return decoder.ids

    def pixels(self, shown: Sequence[Picture]) -> Floats:
        """The window as the reference takes it: (1, 1, frames, 3, height, width)."""
        to_pixels = Preprocessor(self.manifest.preprocess)
        return np.stack([to_pixels(one) for one in shown])[None, None]


def main() -> None:
    """Answer cold and warm, several times; one JSON line."""
    options = _parser().parse_args()
    assistant = Assistant(Bundle.load(options.bundle), options.threads, options.tokens)
    shown = pictures(FRAMES)
    if options.write_case is not None:
        vision_x = assistant.pixels(shown)
        np.savez(options.write_case, vision_x=vision_x, ids=np.array(assistant.prompt, np.int64))
    measured = measure(assistant, shown, options.runs)
    report = {
        "engine": assistant.engine.describe(),
        **measured,
        "peak_gb": round(peak_bytes() / 1e9, 3),
    }
    print(json.dumps(report))


def measure(assistant: Assistant, shown: Sequence[Picture], runs: int) -> dict[str, Any]:
    """Seconds to the first token and to the last by run, warm and cold; the ids for `shown`."""
    for picture in shown:
        assistant.show(picture, scene=0)
    ids = assistant.ids()
    spans: dict[str, list[float]] = {}
    stages: list[dict[str, float]] = []
    for run in range(1, runs + 1):
        # Pictures seen before would have their K/V found again.
        moved = [np.roll(picture, 40 * run, axis=1) for picture in [*shown, shown[0][::-1]]]
        begun = time.perf_counter()
        for picture in moved[:-1]:
            assistant.show(picture, scene=run)
        window_s = time.perf_counter() - begun
        cold = assistant.ask().timing
        assistant.show(moved[-1], scene=run)
        warm = assistant.ask().timing
        stages.append(warm)
        for name, span in {
            "window_s": window_s,
            "first_token_s": warm["first_token_ms"] / 1e3,
            "answer_s": warm["total_ms"] / 1e3,
            "cold_first_token_s": window_s + cold["first_token_ms"] / 1e3,
            "cold_answer_s": window_s + cold["total_ms"] / 1e3,
        }.items():
            spans.setdefault(name, []).append(round(span, 4))
    assert assistant.loop.counters.reused == 0
    medium = _medium(assistant)
    media_bytes = medium.k.nbytes + medium.v.nbytes
    return {
        "frames_per_s": round(len(shown) * runs / sum(spans["window_s"]), 3),
        **spans,
        "stages_ms": {
            name: round(float(np.median([one[name] for one in stages])), 2) for name in stages[0]
        },
        "decode_bytes": decode_bytes(assistant.bundle, assistant.engine.cache, media_bytes),
        "rows_ms": rows_ms(assistant, runs),
        "ids": ids,
    }


def rows_ms(assistant: Assistant, runs: int) -> dict[str, float]:
    """Median milliseconds of putting so many tokens behind an answer at once."""
    engine, cache = assistant.engine, assistant.engine.cache
    media, held = [_medium(assistant)], cache.length - max(ROWS)

    def put(count: int) -> float:
        cache.truncate(held)
        begun = time.perf_counter()
        engine.logits(cache, [5] * count, [1] * count, media)
        return (time.perf_counter() - begun) * 1e3

    # The first of each binds its buffers.
    spans = {count: [put(count) for _ in range(runs + 1)][1:] for count in ROWS}
    return {str(count): round(float(np.median(spans[count])), 2) for count in ROWS}


def _medium(assistant: Assistant) -> Media:
    medium = assistant.loop.window.medium
    assert medium is not None
    return medium.media


def pictures(count: int) -> list[Picture]:
    """Coarse random tiles of 1280 x 720; the same at every call."""
    tiles = np.random.default_rng(0).integers(0, 255, (count, 9, 16, 3), np.uint8)
    return list(tiles.repeat(80, axis=1).repeat(80, axis=2))


def peak_bytes() -> int:
    """The most memory that this process ever held."""
    status = Path("/proc/self/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--write-case", type=Path, help="window and prompt go here, .npz")
    parser.add_argument("--tokens", type=int, required=True, help="of the answer")
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--runs", type=int, required=True)
    return parser


if __name__ == "__main__":
    main()
