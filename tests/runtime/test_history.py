"""Conversations: whole turns, within their budget, each asker's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otter_runtime.bundle import Manifest
from otter_runtime.clock import VirtualClock
from otter_runtime.composer import Composer
from otter_runtime.errors import PromptTooLong
from otter_runtime.frame import Frame
from otter_runtime.history import CONVERSATIONS, History
from otter_runtime.loop import StepLoop
from otter_runtime.prompt import render
from otter_runtime.wire import Ask, Declined, Said


@given(lengths=st.lists(st.integers(1, 60), max_size=30), budget=st.integers(0, 100))
def test_the_last_whole_turns_within_the_budget(lengths: list[int], budget: int) -> None:
    history = History(budget)
    for number, length in enumerate(lengths):
        history.add("one", (f"q{number}", "a"), length)
    kept = history.turns("one")
    first = len(lengths) - len(kept)
    assert kept == [(f"q{number}", "a") for number in range(first, len(lengths))]
    assert sum(lengths[first:]) <= budget
    assert not first or not budget or sum(lengths[first - 1 :]) > budget or lengths[-1] > budget


def test_conversations_are_apart_and_the_silent_ones_go() -> None:
    history = History(10)
    for number in range(CONVERSATIONS):
        history.add(str(number), ("q", str(number)), 1)
    history.add("0", ("q", "again"), 1)
    history.add("new", ("q", "new"), 1)
    assert history.turns("0") == [("q", "0"), ("q", "again")]
    assert history.turns("1") == []
    assert history.turns("2") == [("q", "2")]
    assert history.evicted == 1
    history.add("", ("q", "a"), 1)
    assert history.turns("") == []


def test_old_turns_make_room_and_the_question_never_does(
    manifest: Manifest, tokenizer: Any
) -> None:
    composer = Composer(manifest, tokenizer, History(1000))
    turns = [(f"question {number} " * 3, f"answer {number}") for number in range(4)]
    for question, answer in turns:
        composer.answered(Ask(id="a", text=question, conversation="c"), answer)
    question = "What now? " * 6
    prompt = composer.prompt(Ask(id="b", text=question, conversation="c"), [])
    fits = [
        kept
        for kept in (turns[first:] for first in range(5))
        if len(render(manifest, tokenizer, question, kept).ids) + 12 <= 256
    ]
    assert 0 < len(fits[0]) < 4
    assert prompt == render(manifest, tokenizer, question, fits[0])
    with pytest.raises(PromptTooLong):
        composer.prompt(Ask(id="c", text="x" * 300, conversation="c"), [])


def test_a_conversation_is_remembered_and_only_by_its_name(
    engine: Any, manifest: Manifest, tokenizer: Any, frame: Callable[..., Frame]
) -> None:
    loop = StepLoop(engine, manifest, tokenizer, VirtualClock(), history_tokens=100)
    loop.show(frame(0))

    def answer(text: str, conversation: str = "", deadline_ns: int | None = None) -> str:
        loop.ask(Ask(id="a", text=text, conversation=conversation, deadline_ns=deadline_ns))
        events: list[Any] = []
        while not any(isinstance(event, (Said, Declined)) for event in events):
            events += loop.step()
        return str(getattr(events[-1], "text", ""))

    alone = answer("And now?")
    first = answer("Where is it?", "mine")
    reused = loop.counters.reused
    followed = answer("And now?", "mine")
    assert loop.counters.reused > reused  # the first turn, picture and all
    assert followed != alone
    assert loop._composer.history.turns("mine") == [("Where is it?", first), ("And now?", followed)]
    assert answer("And now?", "another") == alone
    assert answer("And now?") == alone
    answer("And then?", "cut", deadline_ns=loop._clock.now_ns() + 90_000_000)
    assert loop._composer.history.turns("cut") == []
