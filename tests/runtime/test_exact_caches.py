"""What is kept changes nothing: logits against full recomputation, over random schedules.

Frames, questions, exemplars, conversations, chunk sizes, window policies, limits and drafts come in
any order; every row of logits that the loop hears is computed again with nothing kept.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image as Pillow

from otter_robots.messages import Image
from otter_runtime import loop as loop_module
from otter_runtime.bundle import Bundle
from otter_runtime.clock import VirtualClock
from otter_runtime.engine import Engine, Floats, Media
from otter_runtime.frame import Frame
from otter_runtime.loop import StepLoop
from otter_runtime.onnx_engine import open_engine
from otter_runtime.policy import Keyframes, Last, Newest, Policy, Uniform
from otter_runtime.wire import Ask, Limit, Pin, Unpin

TEXTS = ["Go?", "Where is the box?", "And now?"]
TOLERANCE = 2e-5
POLICIES: list[Policy] = [Last(), Newest(), Keyframes(0.01), Uniform(2_000_000_000)]
MakeFrame = Callable[..., Frame]

happenings = st.lists(
    st.one_of(
        st.tuples(st.just("steps"), st.integers(1, 9)),
        st.tuples(st.just("frame"), st.integers(0, 1)),
        st.tuples(st.just("ask"), st.integers(0, len(TEXTS) - 1)),
        st.tuples(st.just("talk"), st.integers(0, len(TEXTS) - 1)),
        st.tuples(st.just("standing"), st.integers(0, len(TEXTS) - 1)),
        st.tuples(st.just("pin"), st.integers(0, 2)),
        st.tuples(st.just("unpin"), st.integers(0, 2)),
        st.tuples(st.just("limit"), st.integers(1, 4)),
        st.tuples(st.just("drop"), st.integers(0, 3)),
    ),
    min_size=4,
    max_size=16,
)


class Checked:
    """An engine that holds every run on a cache to the same tokens run at once on an empty one."""

    def __init__(self, engine: Engine, reference: Engine) -> None:
        self._engine, self._reference = engine, reference
        self._held: dict[int, list[tuple[int, int]]] = {}
        self.caches: list[Any] = []  # kept, so that no id is used twice
        self.worst, self.runs = 0.0, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def new_cache(self) -> Any:
        self.caches.append(self._engine.new_cache())
        return self.caches[-1]

    def prefill(
        self, cache: Any, ids: Sequence[int], media_index: Sequence[int], media: Sequence[Media]
    ) -> Floats:
        tokens = self._tokens(cache, ids, media_index)
        return self._same(self._engine.prefill(cache, ids, media_index, media), tokens, media)

    def step(self, cache: Any, token: int, media_index: int, media: Sequence[Media]) -> Floats:
        tokens = self._tokens(cache, [token], [media_index])
        return self._same(self._engine.step(cache, token, media_index, media), tokens, media)

    def logits(
        self, cache: Any, ids: Sequence[int], media_index: Sequence[int], media: Sequence[Media]
    ) -> Floats:
        tokens = self._tokens(cache, ids, media_index)
        rows = self._engine.logits(cache, ids, media_index, media)
        for end, row in enumerate(rows, start=len(tokens) - len(ids) + 1):
            self._same(row, tokens[:end], media)
        return rows

    def _tokens(
        self, cache: Any, ids: Sequence[int], media_index: Sequence[int]
    ) -> list[tuple[int, int]]:
        held = self._held.get(id(cache), [])[: cache.length]
        self._held[id(cache)] = [*held, *zip(ids, media_index, strict=True)]
        return self._held[id(cache)]

    def _same(self, kept: Floats, tokens: list[tuple[int, int]], media: Sequence[Media]) -> Floats:
        fresh = [Media(one.k.copy(), one.v.copy()) for one in media]
        ids, index = zip(*tokens, strict=True)
        anew = self._reference.prefill(self._reference.new_cache(), ids, index, fresh)
        self.worst = max(self.worst, float(np.abs(kept - anew).max()))
        self.runs += 1
        assert kept.argmax() == anew.argmax()
        return kept


def pin(number: int) -> Pin:
    file = io.BytesIO()
    pixels = np.random.default_rng(number).integers(0, 255, (24, 24, 3), np.uint8)
    Pillow.fromarray(pixels).save(file, "png")
    return Pin(
        id=str(number),
        question="Is it?",
        answer="Yes." * number,
        images=(Image(width=24, height=24, encoding="png"),),
        files=(file.getvalue(),),
    )


def play(loop: StepLoop, frame: MakeFrame, schedule: list[tuple[str, int]]) -> None:
    loop.show(frame(0))
    for number, (what, value) in enumerate([*schedule, ("ask", 0), ("steps", 10_000)], start=1):
        if what == "steps":
            for _ in range(value):
                if not loop.idle:
                    loop.step()
        elif what == "frame":
            loop.show(frame(number, scene=value))
        elif what == "limit":
            loop.limit(Limit(frames=value, max_new_tokens=9 - value))
        elif what in ("pin", "unpin"):
            loop.pin(pin(value) if what == "pin" else Unpin(str(value)))
        elif what == "drop":
            loop.drop(str(value))
        else:
            ask = Ask(
                id=str(number % 4),
                text=TEXTS[value],
                standing=what == "standing",
                conversation="c" if what == "talk" else "",
            )
            loop.ask(ask)


def begin(engine: Any, bundle: Bundle, policy: Policy, draft: int = 0) -> StepLoop:
    clock, tokenizer = VirtualClock(), bundle.tokenizer()
    return StepLoop(engine, bundle.manifest, tokenizer, clock, 4, policy, 40, draft)


@pytest.fixture(scope="module")
def fp32(fp32_bundle: Path) -> tuple[Bundle, Engine, Engine]:
    bundle = Bundle.load(fp32_bundle)
    return bundle, open_engine(bundle, 1), open_engine(bundle, 1)


@given(
    schedule=happenings,
    policy=st.sampled_from(POLICIES),
    chunk=st.sampled_from([1, 7, 32, 64]),
    draft=st.sampled_from([0, 3, 7]),
)
@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_schedule_has_the_logits_of_full_recomputation(
    schedule: list[tuple[str, int]],
    policy: Policy,
    chunk: int,
    draft: int,
    fp32: tuple[Bundle, Engine, Engine],
    frame: MakeFrame,
) -> None:
    bundle, engine, reference = fp32
    checked = Checked(engine, reference)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(loop_module, "CHUNK", chunk)
        loop = begin(checked, bundle, policy, draft)
        play(loop, frame, schedule)
    assert checked.runs > 0
    assert checked.worst <= TOLERANCE


def test_a_decode_step_copies_no_cache(
    fp32: tuple[Bundle, Engine, Engine], frame: MakeFrame
) -> None:
    """One buffer from the first token to the last, and nothing of a prefix is written again."""
    bundle, engine, reference = fp32
    checked = Checked(engine, reference)
    loop = begin(checked, bundle, Last())
    loop.show(frame(0))
    loop.ask(Ask(id="a", text="Go?"))
    while loop.counters.decoded < 2:
        loop.step()
    (cache,) = checked.caches
    buffer, address, length = cache.kv, cache.kv.ctypes.data, cache.length
    before = cache.kv[:, :, :, :length].copy()
    mark = cache.kv[:, :, :, length + 20 :]
    mark[:] = 7.0  # a copy of the buffer, or a write beyond the new token, would show
    for _ in range(8):
        loop.step()
    assert cache.kv is buffer
    assert cache.kv.ctypes.data == address
    assert cache.length == length + 8
    assert np.array_equal(cache.kv[:, :, :, :length], before)
    assert (mark == 7.0).all()
