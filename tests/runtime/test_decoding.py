"""Greedy decoding's rules, on logits made by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from otter_runtime.bundle import Decoding, Tokens
from otter_runtime.decoding import Decoder
from otter_runtime.errors import EngineError

TOKENS = Tokens(image=9, answer=8, endofchunk=7, pad=6)


def order(*ids: int) -> NDArray[np.float32]:
    """Logits (10,) that prefer `ids` in this order."""
    logits = np.zeros(10, np.float32)
    for rank, token in enumerate(ids):
        logits[token] = 10 - rank
    return logits


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("where", [0, 3, 7, slice(None)])
def test_scores_that_are_no_numbers_are_no_answer(bad: float, where: int | slice) -> None:
    """Also where they would choose the stop token (7), and end in an empty answer."""
    logits = order(3)
    logits[where] = bad
    decoder = Decoder(Decoding(), TOKENS)
    with pytest.raises(EngineError, match=r"no numbers .* `otter-edge verify`"):
        decoder.next(logits)
    assert decoder.ids == []


def test_takes_the_best_until_the_stop_token() -> None:
    decoder = Decoder(Decoding(), TOKENS)
    assert decoder.next(order(3)) == 3
    assert decoder.next(order(4, 7)) == 4
    assert decoder.next(order(7, 4)) is None
    assert decoder.ids == [3, 4]


def test_ends_after_max_new_tokens() -> None:
    decoder = Decoder(Decoding(max_new_tokens=2), TOKENS)
    assert [decoder.next(order(1)) for _ in range(3)] == [1, 1, None]


def test_never_emits_image_and_leaves_the_logits_alone() -> None:
    logits = order(9, 2)
    assert Decoder(Decoding(), TOKENS).next(logits) == 2
    assert logits[9] == 10


def test_no_ngram_comes_twice_counting_the_prompt() -> None:
    decoder = Decoder(Decoding(no_repeat_ngram=3), TOKENS, prompt=[1, 2, 3, 1])
    assert decoder.next(order(2, 4)) == 2  # 3 1 2 is new
    assert decoder.next(order(3, 4)) == 4  # 1 2 3 is not


def test_no_ngram_of_one_means_no_token_twice() -> None:
    decoder = Decoder(Decoding(no_repeat_ngram=1), TOKENS)
    assert [decoder.next(order(1, 2, 3)) for _ in range(3)] == [1, 2, 3]


@given(
    size=st.integers(0, 5),
    prompt=st.lists(st.integers(0, 3), max_size=6),
    wanted=st.lists(st.permutations(range(4)), min_size=1, max_size=12),
)
def test_the_best_that_makes_no_ngram_of_before(
    size: int, prompt: list[int], wanted: list[list[int]]
) -> None:
    """Held to the rule as it is written: every n-gram of what stands is looked at anew."""
    decoder = Decoder(Decoding(no_repeat_ngram=size, max_new_tokens=99), TOKENS, prompt)
    for ids in wanted:
        stands = prompt + decoder.ids
        grams = {tuple(stands[at : at + size]) for at in range(len(stands) - size + 1)}
        open_to = [i for i in ids if not size or tuple([*stands, i][-size:]) not in grams]
        if not open_to:
            return
        assert decoder.next(order(*ids)) == open_to[0]


def test_bad_words_of_one_and_of_several_tokens() -> None:
    decoder = Decoder(Decoding(bad_words=[[5], [1, 2, 3]]), TOKENS)
    chosen = [decoder.next(order(*ids)) for ids in ((5, 1), (2, 0), (3, 0))]
    assert chosen == [1, 2, 0]


def test_confidence_is_the_geometric_mean_of_probabilities() -> None:
    decoder = Decoder(Decoding(), TOKENS)
    assert decoder.confidence == 0
    for logits in (order(3), np.zeros(10, np.float32)):
        decoder.next(logits)
    first = np.exp(10) / (np.exp(10) + 9)
    assert decoder.confidence == pytest.approx(np.sqrt(first / 10), rel=1e-5)
