"""Drafts: what they look up, and that they change how an answer is found, never the answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from otter_runtime.brain import DRAFT_TOKENS, Settings, draft_tokens
from otter_runtime.bundle import Manifest
from otter_runtime.clock import VirtualClock
from otter_runtime.draft import ANSWERS, Drafts
from otter_runtime.frame import Frame
from otter_runtime.loop import StepLoop
from otter_runtime.prompt import render
from otter_runtime.wire import Ask, Piece, Said

MakeFrame = Callable[..., Frame]
TEXTS = ["Go?", "Where is the box?"]


def told(*answers: list[int]) -> Drafts:
    drafts = Drafts(4)
    for answer in answers:
        drafts.remember(answer)
    return drafts


def test_the_longest_tail_counts_then_the_newest_answer() -> None:
    drafts = told([1, 2, 3, 4], [9, 2, 5, 6], [8, 3, 7])
    assert drafts.after([1], 4) == [2, 3, 4]
    assert drafts.after([2], 4) == [5, 6]
    assert drafts.after([1, 2], 4) == [3, 4]
    assert drafts.after([0, 1, 2], 4) == [3, 4]
    assert drafts.after([2, 3], 4) == [4]
    assert drafts.after([3], 4) == [7]
    assert drafts.after([7], 4) == drafts.after([0], 4) == []
    assert told([1, 2, 1, 3]).after([1], 4) == [
        2,
        1,
        3,
    ]  # at the start, and not where it comes again


def test_a_draft_has_its_length() -> None:
    drafts = told([1, 2, 3, 4, 5, 6, 7])
    assert drafts.after([1], 9) == [2, 3, 4, 5]
    assert drafts.after([1], 2) == [2, 3]
    assert drafts.after([1], 0) == drafts.after([1], -1) == []


def test_old_answers_are_forgotten() -> None:
    drafts = told([1, 2], *([number, 0] for number in range(3, 3 + ANSWERS)))
    assert drafts.after([1], 4) == []
    assert drafts.after([3], 4) == [0]


def answers(loop: StepLoop, frame: MakeFrame, schedule: list[tuple[int, int]]) -> list[Any]:
    """What is said to each (seed of a new frame, question), and how surely."""
    told: list[Any] = []
    for number, (seed, text) in enumerate(schedule):
        loop.show(frame(number, seed=seed))
        loop.ask(Ask(id=str(number), text=TEXTS[text]))
        events = []
        while not loop.idle:
            events += loop.step()
        (said,) = [event for event in events if isinstance(event, Said)]
        pieces = "".join(event.text for event in events if isinstance(event, Piece))
        assert pieces.rstrip() in said.text
        told.append((said.text, said.confidence))
    return told


@given(
    schedule=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 1)), min_size=2, max_size=8),
    most=st.sampled_from([1, 3, 7, 15]),
    tokens=st.sampled_from([1, 2, 5, 12]),
    ngram=st.sampled_from([0, 3]),
)
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_answers_are_those_of_token_by_token(
    schedule: list[tuple[int, int]],
    most: int,
    tokens: int,
    ngram: int,
    engine: Any,
    manifest: Manifest,
    tokenizer: Any,
    frame: MakeFrame,
) -> None:
    decoding = msgspec.structs.replace(
        manifest.decoding, max_new_tokens=tokens, no_repeat_ngram=ngram
    )
    made = msgspec.structs.replace(manifest, decoding=decoding)
    plain, drafting = (
        StepLoop(engine, made, tokenizer, VirtualClock(), draft_tokens=n) for n in (0, most)
    )
    assert answers(drafting, frame, schedule) == answers(plain, frame, schedule)


def test_an_answer_that_comes_again_takes_one_step(
    engine: Any, manifest: Manifest, tokenizer: Any, frame: MakeFrame
) -> None:
    loop = StepLoop(engine, manifest, tokenizer, VirtualClock(), draft_tokens=15)
    answers(loop, frame, [(0, 0)])
    first = [call for call in engine.calls if call.startswith(("step", "logits"))]
    engine.calls.clear()
    # The same scene fills the window: the same picture, the same answer.
    answers(loop, frame, [(0, 0)])
    again = [call for call in engine.calls if call.startswith(("step", "logits"))]
    assert first == ["step"] * (manifest.decoding.max_new_tokens - 1)
    assert again == [f"logits {manifest.decoding.max_new_tokens - 1}"]


def test_a_draft_that_would_pass_the_deadline_is_not_begun(
    engine: Any, manifest: Manifest, tokenizer: Any, frame: MakeFrame
) -> None:
    cost_ms = {"encode": 1.0, "resample": 1.0, "prefill": 3.0, "decode": 4.0}
    made = msgspec.structs.replace(manifest, step_cost=cost_ms)
    clock = VirtualClock(cost_ms)
    loop = StepLoop(engine, made, tokenizer, clock, draft_tokens=15)
    answers(loop, frame, [(0, 0)])
    loop.show(frame(1, seed=0))
    loop.step()
    begun_ns = clock.now_ns()
    prompt_ms = len(render(made, tokenizer, TEXTS[0]).ids) * 3.0 + 4
    deadline_ns = begun_ns + round((prompt_ms + 20) * 1e6)  # five tokens, or no draft of eleven
    loop.ask(Ask(id="a", text=TEXTS[0], deadline_ns=deadline_ns))
    events = []
    while not loop.idle:
        events += loop.step()
    (said,) = [event for event in events if isinstance(event, Said)]
    assert said.partial
    assert clock.now_ns() < deadline_ns


@pytest.mark.parametrize(("asked", "rows"), [(0, 64), (7, 1)])
def test_without_drafts_it_is_a_token_a_step(
    asked: int,
    rows: int,
    engine: Any,
    manifest: Manifest,
    tokenizer: Any,
    frame: MakeFrame,
) -> None:
    engine.rows = rows
    loop = StepLoop(engine, manifest, tokenizer, VirtualClock(), draft_tokens=asked)
    answers(loop, frame, [(0, 0), (0, 0)])
    assert not [call for call in engine.calls if call.startswith("logits")]


@pytest.mark.parametrize(
    ("precision", "provider", "asked", "tokens"),
    [
        ("int8", "cpu", None, DRAFT_TOKENS),
        ("int4", "cpu", None, 0),
        ("int4", "cuda", None, DRAFT_TOKENS),
        ("int4", "cpu", 3, 3),
        ("int8", "cpu", 0, 0),
    ],
)
def test_nothing_is_drafted_where_it_does_not_pay(
    precision: str, provider: str, asked: int | None, tokens: int, manifest: Manifest
) -> None:
    decoder = msgspec.structs.replace(manifest.graphs.decoder, precision=precision)
    graphs = msgspec.structs.replace(manifest.graphs, decoder=decoder)
    made = msgspec.structs.replace(manifest, graphs=graphs)
    settings = Settings(bundle="", provider=provider, draft_tokens=asked)
    assert draft_tokens(settings, made) == tokens
