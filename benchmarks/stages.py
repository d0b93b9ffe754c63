"""Two stages that need more than a stopwatch: the step loop around an engine, and the bus."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from otter_robots.client import Client
from otter_robots.messages import Answer
from otter_robots.topics import ANSWER
from otter_runtime.bundle import Bundle, Decoding, Tokens
from otter_runtime.bus import Bus
from otter_runtime.clock import RealClock
from otter_runtime.engine import Cache, Engine, Floats, Media
from otter_runtime.errors import BundleError
from otter_runtime.frame import Frame, Stamp
from otter_runtime.journal import Journal
from otter_runtime.loop import StepLoop
from otter_runtime.wire import Ask, Event, Said

QUESTION = "Go to the red box. What should I do next?"
PLAN = "Tell me everything that you can see."
ANSWERS = 200
ANSWER_TOKENS = 48
LISTEN_S = 20.0


class TimedEngine:
    """An engine that notes how long its last decode step took; everything else passes through."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.step_s = 0.0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def step(self, cache: Cache, token: int, media_index: int, media: Sequence[Media]) -> Floats:
        """As the engine's, timed."""
        begun = time.perf_counter()
        logits = self._engine.step(cache, token, media_index, media)
        self.step_s = time.perf_counter() - begun
        return logits


class LoopTimer:
    """Runs the step loop on questions and splits each decode step: the engine's time, its own."""

    def __init__(self, bundle: Bundle, engine: Engine) -> None:
        # Random weights may stop at once, or never: an answer here always has its full length.
        manifest = bundle.manifest
        decoding = Decoding(
            max_new_tokens=ANSWER_TOKENS,
            no_repeat_ngram=3,
            bad_words=manifest.decoding.bad_words,
            stop_ids=[manifest.dims.decoder.vocab],
        )
        self.engine = TimedEngine(engine)
        self.loop = StepLoop(
            self.engine,
            msgspec.structs.replace(manifest, decoding=decoding),
            tokenizer_of(bundle),
            RealClock(),
            window_frames=1,
        )

    def run(self, frame: NDArray[np.uint8], budget_s: float, frames: int) -> tuple[Any, Any]:
        """Seconds per decode step, engine's and loop's own: lists of equal length."""
        self.loop.show(Frame(_stamp(), frame))
        self.loop.step()
        engine: list[float] = []
        own: list[float] = []
        end = time.perf_counter() + budget_s
        number = 0
        while len(own) < ANSWER_TOKENS or time.perf_counter() < end:
            number += 1
            self.loop.ask(Ask(id=str(number), text=QUESTION))
            while not self.loop.idle:
                decoded = self.loop.counters.decoded
                begun = time.perf_counter()
                self.loop.step()
                span = time.perf_counter() - begun
                if self.loop.counters.decoded > decoded:
                    engine.append(self.engine.step_s)
                    own.append(span - self.engine.step_s)
        return engine, own

    def first_tokens(self, frame: NDArray[np.uint8], budget_s: float) -> list[float]:
        """Seconds from a question within a long answer, about a new frame, to its first token.

        It comes between two steps, so the rest of the step in flight is not among them: resampling,
        prefill, and whatever the loop does in between are.
        """
        spans: list[float] = []
        end = time.perf_counter() + budget_s
        while len(spans) < 5 or time.perf_counter() < end:
            self.loop.ask(Ask(id="plan", text=PLAN, standing=True))
            self._steps(4)
            self.loop.show(Frame(_stamp(), np.roll(frame, len(spans), 0)))
            self._steps(3)
            self.loop.ask(Ask(id="question", text=QUESTION))
            # By the loop's own clock: random weights' first token need not be any text.
            spans.append(self._answer("question").timing["first_token_ms"] / 1e3)
        return spans

    def _answer(self, ask_id: str) -> Said:
        """What the loop says to `ask_id`, once it has said all that it has to."""
        events: list[Event] = []
        while not self.loop.idle:
            events += self.loop.step()
        return next(one for one in events if isinstance(one, Said) and one.id == ask_id)

    def _steps(self, count: int) -> None:
        for _ in range(count):
            self.loop.step()


def _stamp() -> Stamp:
    return Stamp(id=0, scene=0, source="noise", index=0, stream_ns=0, mono_ns=0, wall_ns=0)


def publish_to_receive(answers: int = ANSWERS) -> list[float]:
    """Seconds from `publish` (journalled, ipc) until another process has the decoded message."""
    with tempfile.TemporaryDirectory(prefix="otter-bus-") as folder:
        bus = Bus(
            f"ipc://{folder}/stream", f"ipc://{folder}/requests", Journal(Path(folder) / "journal")
        )
        words = [sys.executable, __file__, bus.stream, bus.requests, str(answers)]
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as listener:
            assert listener.stdout is not None
            # It says "ready" once its subscription is sent; one poll here takes it in.
            listener.stdout.readline()
            for _ in range(answers):
                bus.poll(5)
                bus.publish(ANSWER, _answer())
            received = listener.stdout.readline()
        bus.close()
    return [float(word) for word in received.split()]


def _answer() -> Answer:
    return Answer(
        text="Turn left: the red box is on your left.",
        frame_ids=(1, 2, 3, 4),
        captured_mono_ns=time.monotonic_ns(),
        captured_wall_ns=time.time_ns(),
        age_ms=1.0,
        ttl_ms=1000.0,
        model_hash="0" * 64,
        question_id="q",
    )


def _listen(stream: str, requests: str, answers: int) -> None:
    with Client(stream=stream, requests=requests) as client:
        client.subscribe([ANSWER])
        time.sleep(0.5)
        print("ready", flush=True)
        spans: list[float] = []
        while len(spans) < answers and (received := client.receive(LISTEN_S)) is not None:
            spans.append((time.monotonic_ns() - received[0].mono_ns) / 1e9)
        print(*spans, flush=True)


def tokenizer_of(bundle: Bundle) -> Tokenizer:
    """The bundle's own, or bytes where random weights have none."""
    try:
        return bundle.tokenizer()
    except BundleError:
        return _bytes(bundle.manifest.tokens)


def _bytes(tokens: Tokens) -> Tokenizer:
    specials = {
        "<image>": tokens.image,
        "<|endofchunk|>": tokens.endofchunk,
        "<answer>": tokens.answer if tokens.answer is not None else tokens.endofchunk - 1,
    }
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    free = (token for token in count() if token not in specials.values())
    vocabulary = dict(zip(alphabet, free, strict=False)) | specials
    made = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens(list(specials))
    return made


if __name__ == "__main__":
    _listen(sys.argv[1], sys.argv[2], int(sys.argv[3]))
