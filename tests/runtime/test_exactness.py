"""Whatever the schedule, an answer is the one that full recomputation gives for its frames."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from otter_runtime.brain import Settings, build
from otter_runtime.bundle import Bundle, Manifest
from otter_runtime.clock import VirtualClock
from otter_runtime.decoding import Decoder
from otter_runtime.engine import Engine
from otter_runtime.frame import Frame
from otter_runtime.loop import StepLoop
from otter_runtime.onnx_engine import open_engine
from otter_runtime.preprocess import Preprocessor
from otter_runtime.prompt import render
from otter_runtime.wire import Ask, Said

TEXTS = ["Where is the red box?", "Where is the blue ball?", "Go to the red box. " * 5]
MakeFrame = Callable[..., Frame]

# What happens next: so many steps pass, a frame comes (of this scene), or something is asked.
happenings = st.lists(
    st.one_of(
        st.tuples(st.just("steps"), st.integers(1, 9)),
        st.tuples(st.just("frame"), st.integers(0, 2)),
        st.tuples(st.just("ask"), st.integers(0, len(TEXTS) - 1)),
        st.tuples(st.just("standing"), st.integers(0, len(TEXTS) - 1)),
    ),
    min_size=4,
    max_size=24,
)


def recomputed(
    engine: Engine, manifest: Manifest, tokenizer: Any, frames: list[Frame], text: str
) -> str:
    """The answer without any cache kept: every frame encoded, every token prefilled, each time."""
    preprocess = Preprocessor(manifest.preprocess)
    size = manifest.window.frames
    padded = frames[:1] * (size - len(frames)) + frames
    features = [engine.encode(preprocess(one.pixels)[None])[0].copy() for one in padded]
    media = [engine.resample(np.stack(features))]
    prompt = render(manifest, tokenizer, text)
    decoder = Decoder(manifest.decoding, manifest.tokens, prompt.ids)
    while True:
        ids = [*prompt.ids, *decoder.ids]
        index = [*prompt.media_index, *[1] * len(decoder.ids)]
        logits = engine.prefill(engine.new_cache(), ids, index, media)
        if decoder.next(logits) is None:
            return str(tokenizer.decode(decoder.ids, skip_special_tokens=True)).strip()


def played(loop: StepLoop, frame: MakeFrame, schedule: list[tuple[str, int]]) -> dict[str, Any]:
    """Play a schedule to its end; frames by id, texts by ask, and answers."""
    frames, said = {0: frame(0)}, []
    asked: dict[str, str] = {}
    loop.show(frames[0])
    for what, value in [*schedule, ("steps", 10_000)]:
        if what == "frame":
            number = len(frames)
            frames[number] = frame(number, scene=value)
            loop.show(frames[number])
        elif what == "steps":
            said += [event for _ in range(value) if not loop.idle for event in loop.step()]
        else:
            asked[str(len(asked))] = TEXTS[value]
            loop.ask(Ask(id=str(len(asked) - 1), text=TEXTS[value], standing=what == "standing"))
    answers = [event for event in said if isinstance(event, Said)]
    assert {answer.id for answer in answers} == set(asked)
    return {"frames": frames, "asked": asked, "answers": answers}


@given(schedule=happenings)
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_schedule_is_exact(
    schedule: list[tuple[str, int]],
    engine: Any,
    manifest: Manifest,
    tokenizer: Any,
    frame: MakeFrame,
) -> None:
    loop = StepLoop(engine, manifest, tokenizer, VirtualClock())
    run = played(loop, frame, schedule)
    for answer in run["answers"]:
        seen = [run["frames"][stamp.id] for stamp in answer.stamps]
        expected = recomputed(engine, manifest, tokenizer, seen, run["asked"][answer.id])
        assert answer.text == expected


@pytest.fixture(scope="module")
def real(bundle: Path) -> tuple[Bundle, Any, Engine]:
    opened = Bundle.load(bundle)
    return opened, opened.tokenizer(), open_engine(opened, 1)


def test_the_int8_bundle_is_exact_too(real: tuple[Bundle, Any, Engine], frame: MakeFrame) -> None:
    opened, tokenizer, engine = real
    loop, _ = build(Settings(bundle=str(opened.path), threads=1), VirtualClock())
    schedule = [
        *[("ask", 0), ("steps", 4), ("frame", 0), ("standing", 2), ("steps", 6), ("ask", 1)],
        *[("steps", 5), ("frame", 0), ("ask", 1), ("steps", 40), ("ask", 0), ("frame", 1)],
    ]
    run = played(loop, frame, schedule)
    assert loop.counters.reused > 0
    for answer in run["answers"]:
        seen = [run["frames"][stamp.id] for stamp in answer.stamps]
        text = run["asked"][answer.id]
        assert answer.text == recomputed(engine, opened.manifest, tokenizer, seen, text)


def test_an_answer_depends_on_the_picture(
    real: tuple[Bundle, Any, Engine], frame: MakeFrame
) -> None:
    opened, tokenizer, engine = real
    texts = {
        recomputed(engine, opened.manifest, tokenizer, [frame(number)], TEXTS[0])
        for number in range(4)
    }
    assert len(texts) > 1
