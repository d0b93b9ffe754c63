"""The step loop: what goes first, what is done once, and that it repeats itself exactly."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import pytest

from otter_robots.skill import Offer, Skill
from otter_runtime.bundle import Manifest
from otter_runtime.clock import VirtualClock
from otter_runtime.errors import EngineError
from otter_runtime.frame import Frame
from otter_runtime.loop import StepLoop
from otter_runtime.prefix import Held, Shelf, common
from otter_runtime.wire import Ask, Declined, Piece, Said, Shown

QUESTION, PLAN = "Where is the red box?", "Go to the red box. What should I do next?"
LONG = "Tell me everything that you can see, " * 3


@pytest.fixture
def loop(engine: Any, manifest: Manifest, tokenizer: Any) -> StepLoop:
    return StepLoop(engine, manifest, tokenizer, VirtualClock())


def drain(loop: StepLoop) -> list[Any]:
    events: list[Any] = []
    while not loop.idle:
        events += loop.step()
    return events


def said(events: list[Any]) -> dict[str, Said]:
    return {event.id: event for event in events if isinstance(event, Said)}


def test_an_answer_names_the_frames_of_its_window(
    loop: StepLoop, frame: Callable[..., Frame]
) -> None:
    for number in range(6):
        loop.show(frame(number))
        loop.step()
    loop.ask(Ask(id="a", text=QUESTION))
    events = drain(loop)
    answer = said(events)["a"]
    assert [stamp.id for stamp in answer.stamps] == [2, 3, 4, 5]
    assert answer.text
    assert "".join(event.text for event in events if isinstance(event, Piece)).rstrip() in (
        answer.text
    )
    assert set(answer.timing) >= {"resample_ms", "prefill_ms", "first_token_ms", "total_ms"}


def test_work_is_done_once_per_frame_and_per_window(
    loop: StepLoop, engine: Any, frame: Callable[..., Frame]
) -> None:
    costs = []
    for number in range(40):
        loop.show(frame(number))
        loop.ask(Ask(id=f"{number}a", text=QUESTION))
        loop.ask(Ask(id=f"{number}b", text=PLAN))
        before = len(engine.calls)
        drain(loop)
        costs.append(len(engine.calls) - before)
    assert engine.calls.count("encode") == loop.counters.encoded == 40
    assert engine.calls.count("resample") == loop.counters.resampled == 40
    # Once the window is full an answer costs the same, however much it has seen: answers differ
    # in length only.
    steps = [call for call in engine.calls if call == "step"]
    assert len(steps) == loop.counters.decoded
    assert max(costs[4:]) <= 2 + 4 + 2 * 11


def test_a_question_overtakes_the_standing_instruction_at_the_next_step(
    loop: StepLoop, engine: Any, frame: Callable[..., Frame]
) -> None:
    loop.show(frame(0))
    loop.ask(Ask(id="plan", text=PLAN, standing=True))
    for _ in range(4):
        loop.step()  # encode, resample, prefill, one token
    loop.ask(Ask(id="question", text=QUESTION))
    before = len(engine.calls)
    loop.step()
    assert engine.calls[before].startswith("prefill")
    events = drain(loop)
    assert [event.id for event in events if isinstance(event, Said)] == ["question", "plan"]
    assert loop.counters.preempted == 1


def test_an_interrupted_answer_is_the_same_as_an_undisturbed_one(
    engine: Any, manifest: Manifest, tokenizer: Any, frame: Callable[..., Frame]
) -> None:
    calm = StepLoop(engine, manifest, tokenizer, VirtualClock())
    calm.show(frame(0))
    calm.ask(Ask(id="plan", text=PLAN, standing=True))
    expected = said(drain(calm))["plan"].text
    busy = StepLoop(engine, manifest, tokenizer, VirtualClock())
    busy.show(frame(0))
    busy.ask(Ask(id="plan", text=PLAN, standing=True))
    for step in range(5):
        busy.step()
        busy.show(frame(step + 1))
        busy.ask(Ask(id=f"q{step}", text=QUESTION))
    assert said(drain(busy))["plan"].text == expected


def test_a_frame_never_waits_behind_a_whole_answer(
    loop: StepLoop, engine: Any, frame: Callable[..., Frame]
) -> None:
    loop.show(frame(0))
    loop.ask(Ask(id="a", text=QUESTION))
    loop.step()
    loop.ask(Ask(id="b", text=PLAN))
    loop.show(frame(1))
    before = len(engine.calls)
    drain(loop)
    calls = engine.calls[before:]
    # The first question opens (resample, prefill); then the frame, before its second token.
    assert calls[0] == "resample"
    assert calls[1].startswith("prefill")
    assert calls[2] == "encode"


def test_a_newer_frame_replaces_one_that_waits(loop: StepLoop, frame: Callable[..., Frame]) -> None:
    loop.show(frame(0), slot=3)
    loop.show(frame(1), slot=2)
    shown = [event for event in drain(loop) if isinstance(event, Shown)]
    assert [(event.stamp.id, event.slot, event.kept) for event in shown] == [
        (0, 3, False),
        (1, 2, True),
    ]
    assert loop.counters.dropped == 1


def test_a_prompt_is_prefilled_in_chunks(
    loop: StepLoop, engine: Any, frame: Callable[..., Frame]
) -> None:
    loop.show(frame(0))
    loop.ask(Ask(id="a", text=LONG))
    drain(loop)
    sizes = [int(call.split()[1]) for call in engine.calls if call.startswith("prefill")]
    assert len(sizes) > 1
    assert max(sizes) <= 64


def test_the_same_prefix_and_pictures_are_not_prefilled_again(
    loop: StepLoop, engine: Any, frame: Callable[..., Frame]
) -> None:
    loop.show(frame(0))
    loop.ask(Ask(id="a", text=PLAN))
    first = said(drain(loop))["a"]
    prefilled = loop.counters.prefilled
    loop.ask(Ask(id="b", text=PLAN))
    second = said(drain(loop))["b"]
    assert loop.counters.prefilled == prefilled + 1  # the last token's logits are wanted
    assert second.text == first.text
    loop.show(frame(1))
    drain(loop)
    loop.ask(Ask(id="c", text=PLAN))
    drain(loop)
    # Another picture: the prompt begins with <image>, so nothing of it is the same.
    assert loop.counters.prefilled == 2 * prefilled + 1


def test_reuse_is_exact(
    engine: Any, manifest: Manifest, tokenizer: Any, frame: Callable[..., Frame]
) -> None:
    texts = [QUESTION, PLAN, QUESTION, "Where is the blue ball?", PLAN, "Where?", QUESTION]
    warm = StepLoop(engine, manifest, tokenizer, VirtualClock())
    warm.show(frame(0))
    for number, text in enumerate(texts):
        warm.ask(Ask(id=str(number), text=text))
        answer = said(drain(warm))[str(number)].text
        cold = StepLoop(engine, manifest, tokenizer, VirtualClock())
        cold.show(frame(0))
        cold.ask(Ask(id="cold", text=text))
        assert said(drain(cold))["cold"].text == answer
    assert warm.counters.reused > 50


def test_a_deadline_cuts_off_and_says_so(loop: StepLoop, frame: Callable[..., Frame]) -> None:
    loop.show(frame(0))
    loop.ask(Ask(id="never", text=QUESTION, deadline_ns=1))
    loop.ask(Ask(id="half", text=QUESTION, deadline_ns=130_000_000))
    events = drain(loop)
    declined = [event for event in events if isinstance(event, Declined)]
    assert [(event.id, event.reason) for event in declined] == [("never", "deadline")]
    assert said(events)["half"].partial


def test_a_question_waits_for_a_first_frame(loop: StepLoop, frame: Callable[..., Frame]) -> None:
    loop.ask(Ask(id="a", text=QUESTION))
    assert loop.idle
    assert loop.waiting
    loop.show(frame(0))
    assert "a" in said(drain(loop))


def test_priority_goes_before_age(loop: StepLoop, frame: Callable[..., Frame]) -> None:
    loop.show(frame(0))
    loop.ask(Ask(id="first", text=QUESTION))
    loop.ask(Ask(id="urgent", text=PLAN, priority=5))
    answered = [event.id for event in drain(loop) if isinstance(event, Said)]
    assert answered == ["urgent", "first"]


def test_what_cannot_be_asked_is_declined(loop: StepLoop, frame: Callable[..., Frame]) -> None:
    loop.show(frame(0))
    loop.ask(Ask(id="long", text="x" * 400))
    loop.ask(Ask(id="gone", text=QUESTION))
    loop.drop("gone")
    reasons = {event.id: event.reason for event in drain(loop) if isinstance(event, Declined)}
    assert reasons == {"long": "prompt", "gone": "cancelled"}


def test_what_the_engine_refuses_is_declined_and_the_next_is_answered(
    loop: StepLoop, engine: Any, frame: Callable[..., Frame], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise EngineError("token ids are 0 to 9, got 0 to 10")

    loop.show(frame(0))
    loop.ask(Ask(id="refused", text=QUESTION))
    with monkeypatch.context() as patched:
        patched.setattr(engine, "prefill", refuse)
        (declined,) = [event for event in drain(loop) if isinstance(event, Declined)]
    assert (declined.id, declined.reason) == ("refused", "engine")
    loop.ask(Ask(id="taken", text=QUESTION))
    assert [event.id for event in drain(loop) if isinstance(event, Said)] == ["taken"]


@pytest.mark.parametrize("skills", [None, Offer(skills=(Skill(name="go", texts=("Go",)),))])
def test_scores_that_are_no_numbers_are_no_answer(
    skills: Offer | None,
    loop: StepLoop,
    engine: Any,
    frame: Callable[..., Frame],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def overflow(*arguments: Any) -> Any:
        return np.full_like(prefill(*arguments), np.nan)

    loop.show(frame(0))
    loop.ask(Ask(id="refused", text=QUESTION, skills=skills))
    prefill = engine.prefill
    with monkeypatch.context() as patched:
        patched.setattr(engine, "prefill", overflow)
        (declined,) = [event for event in drain(loop) if isinstance(event, Declined)]
    assert (declined.id, declined.reason) == ("refused", "engine")
    assert "no numbers" in declined.detail


def test_the_same_schedule_gives_the_same_bytes_twice(
    manifest: Manifest, tokenizer: Any, engine: Any, frame: Callable[..., Frame]
) -> None:
    def transcript() -> bytes:
        clock = VirtualClock({"encode": 20, "decode": 7})
        loop = StepLoop(engine, manifest, tokenizer, clock)
        events: list[Any] = []
        for number in range(12):
            clock.advance_to(number * 250_000_000)
            loop.show(frame(number))
            loop.ask(Ask(id=f"s{number}", text=PLAN, standing=True))
            if number % 3 == 0:
                loop.ask(Ask(id=f"q{number}", text=QUESTION))
            while not loop.idle and clock.now_ns() < (number + 1) * 250_000_000:
                events += loop.step()
        return msgspec.msgpack.encode(events)

    assert transcript() == transcript()


def test_the_shelf_gives_what_shares_most(engine: Any) -> None:
    shelf = Shelf(engine.new_cache)
    first, second = shelf.take([(1, b""), (2, b"x")]), shelf.take([(5, b"")])
    for held, tokens in ((first, [(1, b""), (2, b"x")]), (second, [(5, b""), (6, b"")])):
        held.tokens.extend(tokens)
        held.cache.rows.extend([None] * len(tokens))  # type: ignore[attr-defined]
        shelf.give_back(held)
    again = shelf.take([(1, b""), (2, b"y"), (3, b"")])
    assert isinstance(again, Held)
    assert again is first
    assert again.tokens == [(1, b"")]
    assert common([(1, b"")], []) == 0
