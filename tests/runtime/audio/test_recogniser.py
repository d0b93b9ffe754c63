"""Spoken phrases through segmentation and recognition, without a sound device."""

from __future__ import annotations

import numpy as np
import pytest
from tests.runtime.audio.spoken import frames, needs_espeak, needs_sphinx

from otter_robots.errors import UserError
from otter_runtime.audio.conversation import Heard, grammars
from otter_runtime.audio.phrases import Phrase, Phrases
from otter_runtime.audio.recogniser import Recogniser, Voiced, grammar
from otter_runtime.audio.utterance import FRAME_BYTES, Segmenter

pytestmark = needs_sphinx


def heard(phrases: Phrases, *texts: str, voice: str = "en-us") -> list[Heard]:
    usual, _ = grammars(phrases.meanings())
    recognise, segmenter = Recogniser([usual], phrases.sounds()), Segmenter(Voiced())
    cut = [pcm for pcm in map(segmenter.hear, frames(*texts, voice=voice)) if pcm is not None]
    return [recognise(pcm, usual) for pcm in cut]


@needs_espeak
@pytest.mark.parametrize("voice", ["en-us", "en-gb"])
def test_phrases_are_heard_one_after_the_other(voice: str) -> None:
    texts = ["what should I do next?", "stop!", "go to the red box", "where is the red box?"]
    found = heard(Phrases(), *texts, voice=voice)
    assert [one.words for one in found] == [
        "what should i do next",
        "stop",
        "go to the red box",
        "where is the red box",
    ]
    assert all(one.score >= Phrases().score for one in found)


@needs_espeak
def test_other_speech_is_scored_below() -> None:
    found = heard(
        Phrases(), "Please call my mother tomorrow morning.", "The weather is nice today."
    )
    assert len(found) == 2
    assert all(one.score < Phrases().score for one in found)


@needs_espeak
def test_a_word_of_ones_own_is_heard_as_it_is_said() -> None:
    own = Phrase(say="wake up zorblax", ask="?")
    phrases = Phrases(phrases=(own,), pronunciations={"zorblax": "Z AO R B L AE K S"})
    (found,) = heard(phrases, "wake up zorblax")
    assert found.words == "wake up zorblax"
    assert found.score > Phrases().score


def test_a_word_that_nobody_knows_is_named() -> None:
    with pytest.raises(UserError, match="the dictionary has no blaxzor, zorblax; use other words"):
        Recogniser([frozenset({"stop", "go zorblax", "blaxzor"})], {})


def test_silence_and_noise_are_no_speech() -> None:
    segmenter = Segmenter(Voiced())
    assert [segmenter.hear(bytes(FRAME_BYTES)) for _ in range(100)] == [None] * 100
    assert not segmenter.speaking


def test_silence_that_is_recognised_all_the_same_is_no_phrase() -> None:
    usual = frozenset(["stop", "what should i do next"])
    recognise = Recogniser([usual], {})
    assert recognise(bytes(FRAME_BYTES * 40), usual).score < Phrases().score


def test_the_same_sound_has_the_same_score_whatever_came_before() -> None:
    usual = frozenset(["stop", "go home"])
    recognise = Recogniser([usual], {})
    noises = [
        np.random.default_rng(seed).normal(0, 2000 * (seed + 1), 24_000).astype(np.int16).tobytes()
        for seed in range(3)
    ]
    first = [recognise(noise, usual) for noise in noises]
    assert [recognise(noise, usual) for noise in reversed(noises)] == first[::-1]


def test_the_grammar_is_the_phrases() -> None:
    assert grammar(["a b", "c"]) == "#JSGF V1.0;\ngrammar phrases;\npublic <phrase> = a b | c;\n"
