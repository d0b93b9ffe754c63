"""Only allowed sentences come out, in the tokenizer's own cut where they are forced."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from otter_runtime.bundle import Manifest
from otter_runtime.errors import PromptError
from otter_runtime.grammar import Grammar, logsumexp, quoted


@pytest.fixture
def grammar(tokenizer: Any, manifest: Manifest) -> Grammar:
    return Grammar(tokenizer, manifest)


@given(text=st.text(min_size=1, max_size=20))
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_can_be_quoted_and_is_forced_as_it_is(
    text: str, grammar: Grammar, tokenizer: Any
) -> None:
    matcher = grammar.matcher(quoted(text))
    ids: list[int] = []
    while not ids or ids[-1] != grammar.stop:
        # llguidance holds the last token back where more than one might follow.
        ids += matcher.forced() or [matcher.choose(np.zeros(260, np.float32))[0]]
    assert ids == [*tokenizer.encode(text).ids, grammar.stop]
    assert grammar.text(ids) == text


def test_a_choice_is_among_what_is_allowed_and_its_share_too(grammar: Grammar) -> None:
    matcher = grammar.matcher("a(b|c)d?")
    (a,) = matcher.forced()
    assert grammar.text([a]) == "a"
    b, c = (next(i for i in range(260) if grammar.text([i]) == one) for one in "bc")
    assert np.flatnonzero(matcher.allowed()).tolist() == sorted([b, c])
    logits = np.full(260, 9.0, np.float32)
    logits[[b, c]] = 1.0, 2.0
    token, share = matcher.choose(logits)
    assert token == c
    assert share == pytest.approx(-np.log1p(np.exp(-1)))
    assert grammar.stop in np.flatnonzero(matcher.allowed())


def test_what_cannot_be_compiled_is_refused_in_a_sentence(grammar: Grammar) -> None:
    with pytest.raises(PromptError, match="the skills make no grammar"):
        grammar.matcher("a(")


def test_a_sum_of_exponentials_does_not_overflow() -> None:
    assert logsumexp(np.array([1e4, 1e4])) == pytest.approx(1e4 + np.log(2))
