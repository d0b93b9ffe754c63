"""Greedy decoding against recomputation, its controls, and beam search's bookkeeping."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch

from otter_model.beam import Finished, beam_search
from otter_model.errors import PromptError, TooManyImages
from otter_model.generate import Controls, greedy
from otter_model.otter import Otter

IMAGE, STOP = 61, 60
PROMPT = [3, IMAGE, 7, 8, IMAGE, 9, 10]


def test_seeing_equals_recomputing_everything(otter: Otter, vision_x: torch.Tensor) -> None:
    media = otter.look(vision_x)
    answer = greedy(otter, media, PROMPT, Controls(8, bad_words=((IMAGE,),)))
    whole = otter(vision_x, torch.tensor([PROMPT + answer.ids]))
    recomputed = whole[0, len(PROMPT) - 1 : -1]
    torch.testing.assert_close(answer.logits, recomputed, atol=2e-5, rtol=0)


def test_blind_equals_sight_switched_off_after_the_prompt(
    otter: Otter, vision_x: torch.Tensor
) -> None:
    media = otter.look(vision_x)
    answer = greedy(otter, media, PROMPT, Controls(8, bad_words=((IMAGE,),), mode="blind"))
    row = torch.tensor([PROMPT + answer.ids])
    index = otter.media_index(row)
    index[:, len(PROMPT) :] = 0
    whole, _ = otter.decode(row, index, media)
    recomputed = whole[0, len(PROMPT) - 1 : -1]
    torch.testing.assert_close(answer.logits, recomputed, atol=2e-5, rtol=0)
    seeing = greedy(otter, media, PROMPT, Controls(8, bad_words=((IMAGE,),)))
    assert not torch.allclose(seeing.logits[1], answer.logits[1], atol=1e-3)


def test_no_ngram_comes_twice(otter: Otter, vision_x: torch.Tensor) -> None:
    media = otter.look(vision_x)
    controls = Controls(24, no_repeat_ngram=2)
    ids = PROMPT + greedy(otter, media, PROMPT, controls).ids
    pairs = list(pairwise(ids))
    assert len(pairs) == len(set(pairs))


def test_bad_words_end_only_after_their_start() -> None:
    controls = Controls(bad_words=((5,), (6, 7, 8)))
    assert controls.banned([1, 6, 7]) == [5, 8]
    assert controls.banned([7]) == [5]
    assert controls.banned([6, 7, 1]) == [5]


def test_a_stop_token_ends_the_answer(otter: Otter, vision_x: torch.Tensor) -> None:
    media = otter.look(vision_x)
    everything_else = tuple((i,) for i in range(64) if i != STOP)
    answer = greedy(otter, media, PROMPT, Controls(8, bad_words=everything_else))
    assert answer.ids == [STOP]


def test_one_beam_wide_enough_is_greedy(otter: Otter, vision_x: torch.Tensor) -> None:
    media = otter.look(vision_x)
    controls = Controls(6, bad_words=((STOP,),))
    assert (
        beam_search(otter, media, PROMPT, controls, beams=1)
        == greedy(otter, media, PROMPT, controls).ids
    )


def test_all_beams_find_the_likeliest_answer(otter: Otter, vision_x: torch.Tensor) -> None:
    """Two tokens, as many beams as first tokens: beam search is then an exhaustive search."""
    media = otter.look(vision_x)
    few = tuple((i,) for i in range(64) if i not in (20, 21, 22))
    found = beam_search(otter, media, PROMPT, Controls(2, bad_words=few), beams=3)
    pairs = torch.tensor([[*PROMPT, a, b] for a in (20, 21, 22) for b in (20, 21, 22)])
    logits, _ = otter.decode(pairs, otter.media_index(pairs), media)
    steps = logits[:, -3:-1].log_softmax(-1).gather(2, pairs[:, -2:, None])
    assert found == pairs[steps.sum(dim=1).argmax(), -2:].tolist()


def test_finished_answers_are_ranked_by_log_probability_per_token() -> None:
    finished = Finished(size=2)
    finished.add([1, 2], -4.0)  # -2 per token
    finished.add([1, 2, 3, 4], -4.0)  # -1
    finished.add([1], -3.0)  # -3: no room
    assert finished.best == [1, 2, 3, 4]
    assert finished.worst == -2.0
    finished.add([5, 6], -3.0)  # -1.5: replaces -2
    assert finished.worst == -1.5
    assert finished.beats(-6.0, 4)
    assert not finished.beats(-5.0, 4)


def test_prompts_that_cannot_be_asked(otter: Otter, vision_x: torch.Tensor) -> None:
    media = otter.look(vision_x[:, :1])
    with pytest.raises(TooManyImages, match="2 <image> tokens but only 1 media"):
        greedy(otter, media, PROMPT, Controls())
    with pytest.raises(TooManyImages):
        beam_search(otter, media, PROMPT, Controls())
    with pytest.raises(PromptError, match="no tokens"):
        greedy(otter, media, [], Controls())
