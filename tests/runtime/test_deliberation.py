"""Whatever the logits, an answer among skills is one of them; its scores are those of a whole
recomputation, and what they amount to follows the affordances."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from otter_robots.skill import CANT_SEE, NO_ACTION, Offer, Parameter, Skill
from otter_runtime.alternatives import MOST_RANKED, Scored, alternatives, decoded, ranked
from otter_runtime.bundle import Bundle, Manifest
from otter_runtime.clock import VirtualClock
from otter_runtime.decoding import log_softmax_at
from otter_runtime.deliberation import Deliberation
from otter_runtime.engine import Engine
from otter_runtime.errors import PromptError
from otter_runtime.frame import Frame
from otter_runtime.grammar import Grammar
from otter_runtime.loop import StepLoop
from otter_runtime.onnx_engine import open_engine
from otter_runtime.preprocess import Preprocessor
from otter_runtime.prompt import render
from otter_runtime.wire import Ask, Declined, Piece, Said, Shown

VOCAB = 260
MakeFrame = Callable[..., Frame]

names = st.text("abcdefg", min_size=1, max_size=6)
literals = st.text("abc {}.,é|(\\", min_size=1, max_size=12).map(
    lambda text: text.translate(str.maketrans("{}", "xy")).strip() or "a"
)
numbers = st.builds(
    lambda low, count, step: Parameter(
        name="n", low=float(low), high=low + count * step, step=step
    ),
    st.integers(-20, 20),
    st.integers(0, 30),
    st.sampled_from([0.1, 0.5, 1.0]),
)
words = st.lists(literals, min_size=1, max_size=3, unique=True).map(
    lambda given: Parameter(name="n", choices=tuple(given))
)


@st.composite
def offers(draw: st.DrawFn) -> Offer:
    made = []
    for index in range(draw(st.integers(1, 4))):
        # The index keeps the sentences of two skills apart.
        text = f"{draw(literals)}{index}"
        parameter = draw(st.none() | numbers | words)
        texts = (text,) if parameter is None else (f"{text} {{n}}", f"{text}: {{n}}!")
        made.append(
            Skill(
                name=f"s{index}",
                texts=texts,
                parameters=() if parameter is None else (parameter,),
                affordance=draw(st.sampled_from([0.0, 0.5, 1.0])),
            )
        )
    offer = Offer(skills=tuple(made), rank=draw(st.booleans()))
    offer.check()
    return offer


def deliberate(deliberation: Deliberation, rows: Callable[[int], Any]) -> None:
    """Feed it logits until there is a choice."""
    deliberation.hear(rows(1))
    while not deliberation.done:
        _, ids = deliberation.next()
        assert 0 < len(ids) <= 64
        deliberation.hear(rows(len(ids)))


@given(offer=offers(), seed=st.integers(0, 2**32 - 1), scale=st.sampled_from([0.1, 3.0, 50.0]))
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_nothing_outside_the_grammar_is_ever_said(
    offer: Offer, seed: int, scale: float, tokenizer: Any, manifest: Manifest
) -> None:
    random = np.random.default_rng(seed)
    deliberation = Deliberation(offer, Grammar(tokenizer, manifest), temperature=1.7, most=64)
    deliberate(deliberation, lambda n: random.normal(0, scale, (n, VOCAB)).astype(np.float32))
    for choice in deliberation.choices:
        skill = next(one for one in offer.all if one.name == choice.skill)
        assert skill.parse(choice.text) == choice.arguments
        for parameter in skill.parameters:
            assert parameter.accept(choice.arguments[parameter.name]) is not None
    assert deliberation.text == deliberation.choices[0].text
    probabilities = [choice.probability for choice in deliberation.choices]
    assert probabilities == sorted(probabilities, reverse=True)
    if offer.rank:
        assert sum(probabilities) == pytest.approx(1)
        assert {choice.skill for choice in deliberation.choices} == {s.name for s in offer.all}
    else:
        (choice,) = deliberation.choices
        assert next(s for s in offer.all if s.name == choice.skill).affordance > 0


def scored(name: str, log_likelihood: float, affordance: float = 1.0, **arguments: Any) -> Scored:
    skill = Skill(name=name, texts=(name,), affordance=affordance)
    return Scored(skill, arguments, f"{name}{arguments}", log_likelihood, 3, -1.0)


def test_choices_are_likelihood_times_affordance_and_sum_to_one() -> None:
    third = np.log(1 / 3)
    choices = ranked(
        [scored("a", third), scored("b", third, 0.4), scored(NO_ACTION, third)], temperature=1.0
    )
    assert [one.skill for one in choices] == [NO_ACTION, "a", "b"]
    assert [one.probability for one in choices] == pytest.approx([1.6 / 3, 1 / 3, 0.4 / 3])
    assert [one.likelihood for one in choices] == pytest.approx([1 / 3] * 3)


def test_a_sure_skill_that_cannot_succeed_leaves_no_action_and_not_the_second_best() -> None:
    given = [scored("go", -0.1, 0.0), scored("turn", -3.0), scored(NO_ACTION, -90.0)]
    choices = ranked(given, temperature=1.0)
    assert choices[0].skill == NO_ACTION
    assert choices[0].probability == pytest.approx(1 / (1 + np.exp(-2.9)))
    nothing = ranked([scored("go", -0.1, 0.0), scored(NO_ACTION, -90.0)], temperature=1.0)
    assert nothing[0].skill == NO_ACTION
    assert nothing[0].probability == pytest.approx(1)


def test_sentences_of_one_call_add_up_and_the_likelier_one_is_said() -> None:
    given = [scored("a", -1.0), scored("a", -2.0), scored("b", -0.9), scored("a", -5.0, n=1)]
    given = [*given[:1], Scored(given[1].skill, {}, "again", -2.0, 3, 0.0), *given[2:]]
    first, second, third = ranked(given, temperature=2.0)
    whole = sum(np.exp(one / 2) for one in (-1.0, -2.0, -0.9, -5.0))
    assert (first.skill, first.text, first.log_likelihood) == ("a", "a{}", -1.0)
    assert first.probability == pytest.approx((np.exp(-0.5) + np.exp(-1)) / whole)
    assert second.skill == "b"
    assert third.arguments == {"n": 1}


def test_a_higher_temperature_is_less_sure_and_keeps_the_order() -> None:
    given = [scored("a", -1.0), scored("b", -4.0), scored("c", -9.0)]
    cold, warm = (ranked(given, temperature=t) for t in (1.0, 4.0))
    assert [one.skill for one in cold] == [one.skill for one in warm]
    assert cold[0].probability > warm[0].probability


def test_what_was_only_decoded_says_how_sure_it_was_within_the_grammar() -> None:
    (choice,) = decoded(scored("a", -30.0, 0.5))
    assert choice.likelihood == pytest.approx(np.exp(-1))
    assert choice.probability == pytest.approx(np.exp(-1) / 2)


def test_choices_are_alternatives_and_numbers_are_not() -> None:
    side = Parameter(name="side", choices=("left", "right"))
    far = Parameter(name="far", low=1, high=900)
    turn = Skill(name="turn", texts=("{side} {far}", "{far} {side}"), parameters=(side, far))
    assert len(alternatives(Offer(skills=(turn,)))) == 4 + 2
    assert len(alternatives(Offer(skills=(turn,), rank=False))) == 1
    many = Parameter(name="many", choices=tuple(str(number) for number in range(MOST_RANKED)))
    with pytest.raises(PromptError, match=f"make {MOST_RANKED + 2} sentences"):
        alternatives(Offer(skills=(Skill(name="a", texts=("{many}",), parameters=(many,)),)))


def test_millions_of_sentences_are_refused_before_they_are_made() -> None:
    choices = tuple(str(number) for number in range(64))
    four = tuple(Parameter(name=name, choices=choices) for name in "abcd")
    offer = Offer(skills=(Skill(name="go", texts=("{a} {b} {c} {d}",), parameters=four),))
    offer.check()
    with pytest.raises(PromptError, match=f"make {64**4 + 2} sentences"):
        alternatives(offer)


OFFER = Offer(
    skills=(
        Skill(name="left", texts=("Turn left: it is there.", "Go left.")),
        Skill(
            name="forward",
            texts=("Go forward {metres} m.",),
            parameters=(Parameter(name="metres", low=0.5, high=9.5, step=0.5),),
        ),
        Skill(name="wait", texts=("Wait. " * 20 + "Go.",), affordance=0.0),
    )
)
QUESTION = "Where is the red box?"


def drain(loop: StepLoop) -> list[Any]:
    events: list[Any] = []
    while not loop.idle:
        events += loop.step()
    return events


def answer_of(events: list[Any], name: str) -> Said:
    return next(event for event in events if isinstance(event, Said) and event.id == name)


def whole(engine: Engine, prompt: Any, media: Any, ids: list[int]) -> float:
    """log P(ids | prompt), every prefix prefilled anew."""
    total = 0.0
    for length in range(len(ids)):
        index = [*prompt.media_index, *[prompt.media_index[-1]] * length]
        row = engine.prefill(engine.new_cache(), [*prompt.ids, *ids[:length]], index, [media])
        total += log_softmax_at(row, ids[length])
    return total


def recomputed(
    engine: Engine, manifest: Manifest, tokenizer: Any, frame: Frame, said: Said
) -> dict[str, float]:
    """What every sentence of an answer should have been given, by its text."""
    pixels = Preprocessor(manifest.preprocess)(frame.pixels)[None]
    features = engine.encode(pixels)[0].copy()
    media = engine.resample(np.stack([features] * manifest.window.frames))
    prompt = render(manifest, tokenizer, QUESTION)
    stop = manifest.tokens.endofchunk
    row = engine.prefill(engine.new_cache(), prompt.ids, prompt.media_index, [media]).copy()
    texts = [choice.text for choice in said.choices]
    spelled = {
        lead: {text: [*tokenizer.encode(lead + text).ids, stop] for text in texts}
        for lead in ("", " ")
    }
    # With or without a space, for all of them: what this model would rather begin with.
    lead = max(spelled, key=lambda lead: max(row[ids[0]] for ids in spelled[lead].values()))
    return {text: whole(engine, prompt, media, ids) for text, ids in spelled[lead].items()}


def scores(said: Said) -> dict[str, float]:
    return {choice.text: choice.log_likelihood for choice in said.choices}


def test_scores_are_those_of_a_full_recomputation(
    engine: Any, manifest: Manifest, tokenizer: Any, frame: MakeFrame
) -> None:
    loop = StepLoop(engine, manifest, tokenizer, VirtualClock())
    loop.show(frame(0))
    loop.ask(Ask(id="a", text=QUESTION, skills=OFFER))
    said = answer_of(drain(loop), "a")
    expected = recomputed(engine, manifest, tokenizer, frame(0), said)
    assert scores(said) == pytest.approx(expected, abs=1e-3)


def test_the_int8_bundle_scores_as_a_full_recomputation_does(
    bundle: Path, frame: MakeFrame
) -> None:
    opened = Bundle.load(bundle)
    tokenizer, engine = opened.tokenizer(), open_engine(opened, 1)
    loop = StepLoop(engine, opened.manifest, tokenizer, VirtualClock())
    loop.show(frame(0))
    loop.ask(Ask(id="warm", text=QUESTION))
    loop.ask(Ask(id="a", text=QUESTION, skills=OFFER))
    loop.ask(Ask(id="plain", text=QUESTION))
    events = drain(loop)
    assert answer_of(events, "plain").text == answer_of(events, "warm").text
    said = answer_of(events, "a")
    expected = recomputed(engine, opened.manifest, tokenizer, frame(0), said)
    assert scores(said) == pytest.approx(expected, abs=2e-3)


def test_an_interrupted_deliberation_comes_to_the_same_choices(
    engine: Any, manifest: Manifest, tokenizer: Any, frame: MakeFrame
) -> None:
    calm = StepLoop(engine, manifest, tokenizer, VirtualClock())
    calm.show(frame(0))
    calm.ask(Ask(id="a", text=QUESTION, skills=OFFER, standing=True))
    expected = answer_of(drain(calm), "a")
    busy = StepLoop(engine, manifest, tokenizer, VirtualClock())
    busy.show(frame(0))
    busy.ask(Ask(id="a", text=QUESTION, skills=OFFER, standing=True))
    for _ in range(3):
        busy.step()  # encode, resample, prefill: from now on its window is its own
    for step in range(9):
        busy.step()
        busy.show(frame(step + 1))
        busy.ask(Ask(id=f"q{step}", text="Why?", skills=OFFER if step % 2 else None))
    events = drain(busy)
    assert answer_of(events, "a").choices == expected.choices
    assert busy.counters.preempted > 0


def test_every_step_is_short_and_a_question_goes_ahead_of_the_next(
    engine: Any, manifest: Manifest, tokenizer: Any, frame: MakeFrame
) -> None:
    loop = StepLoop(engine, manifest, tokenizer, VirtualClock())
    loop.show(frame(0))
    loop.ask(Ask(id="a", text=QUESTION, skills=OFFER, standing=True))
    seen = 0
    while not loop.idle:
        before = len(engine.calls)
        loop.step()
        assert len(engine.calls) <= before + 1
        seen += 1
        if seen == 6:
            loop.ask(Ask(id="q", text="Why?"))
            loop.step()
            assert engine.calls[-1].startswith("prefill")
    sizes = [int(call.split()[1]) for call in engine.calls if call.startswith("logits")]
    assert max(sizes) == 64  # the long sentence goes in pieces


def test_an_engine_with_one_row_at_a_time_scores_the_same(
    engine: Any, manifest: Manifest, tokenizer: Any, frame: MakeFrame
) -> None:
    choices = []
    for rows in (64, 1, 5):
        engine.rows = rows
        loop = StepLoop(engine, manifest, tokenizer, VirtualClock())
        loop.show(frame(0))
        loop.ask(Ask(id="a", text=QUESTION, skills=OFFER))
        choices.append(answer_of(drain(loop), "a").choices)
    assert choices[0] == choices[1] == choices[2]
    assert max(int(call.split()[1]) for call in engine.calls[-20:] if call[:4] == "logi") <= 5


def test_a_frame_waits_for_one_sentence_at_most(
    engine: Any, manifest: Manifest, tokenizer: Any, frame: MakeFrame
) -> None:
    loop = StepLoop(engine, manifest, tokenizer, VirtualClock())
    loop.show(frame(0))
    loop.ask(Ask(id="a", text=QUESTION, skills=OFFER))
    loop.step()
    loop.step()
    loop.show(frame(1))
    events = drain(loop)
    order = [type(event) for event in events if isinstance(event, (Shown, Said))]
    assert order[-2:] == [Shown, Said]


def test_the_text_is_told_once_it_is_chosen(
    engine: Any, manifest: Manifest, tokenizer: Any, frame: MakeFrame
) -> None:
    loop = StepLoop(engine, manifest, tokenizer, VirtualClock())
    loop.show(frame(0))
    loop.ask(Ask(id="a", text=QUESTION, skills=OFFER))
    events = drain(loop)
    said = answer_of(events, "a")
    assert [event.text for event in events if isinstance(event, Piece)] == [said.text]
    assert said.confidence == said.choices[0].probability
    assert {one.skill for one in said.choices} == {
        "left",
        "forward",
        "wait",
        NO_ACTION,
        CANT_SEE,
    }


def test_half_weighed_is_no_choice_and_too_many_are_declined(
    engine: Any, manifest: Manifest, tokenizer: Any, frame: MakeFrame
) -> None:
    loop = StepLoop(engine, manifest, tokenizer, VirtualClock())
    loop.show(frame(0))
    many = Parameter(name="many", choices=tuple(str(number) for number in range(64)))
    wide = Offer(skills=(Skill(name="a", texts=("{many}",), parameters=(many,)),))
    loop.ask(Ask(id="half", text=QUESTION, skills=OFFER, deadline_ns=130_000_000))
    loop.ask(Ask(id="wide", text=QUESTION, skills=wide))
    events = drain(loop)
    reasons = {event.id: event.reason for event in events if isinstance(event, Declined)}
    assert reasons == {"half": "deadline", "wide": "prompt"}
