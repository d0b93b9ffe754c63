"""Training batches and evaluation cases, on a few really rendered episodes."""

from __future__ import annotations

import numpy as np
import pytest

from otter_tuning.pocket import questions as q
from otter_tuning.pocket.cases import perception_cases, planning_cases
from otter_tuning.pocket.data import BACKGROUND, SIDE, Episodes, render
from otter_tuning.pocket.kinds import KINDS, SEEDS
from otter_tuning.pocket.sampling import (
    CHUNK,
    END,
    IGNORED,
    WINDOW,
    WINDOWS,
    Sampler,
    draw_chunks,
    window_members,
)
from otter_tuning.pocket.tokenizer import SPECIAL_TOKENS, train_tokenizer

# The simulator's own dependencies warn of things that are theirs to mend.
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def episodes() -> Episodes:
    return render(SEEDS["validation"][50_000:50_006])


def test_an_episode_is_the_same_each_time_it_is_rendered(episodes: Episodes) -> None:
    again = render(SEEDS["validation"][50_002:50_003])
    assert np.array_equal(again.frames[0], episodes.frames[2])
    assert np.array_equal(again.pixels[0], episodes.pixels[2])


def test_frames_show_what_the_truth_says(episodes: Episodes) -> None:
    assert episodes.frames.shape[2:] == (SIDE, SIDE, 3)
    assert episodes.frames.std() > 20
    filled = (episodes.patches != BACKGROUND).sum(-1)
    assert (filled[episodes.pixels.sum(-1) > 200] > 0).all()
    assert (filled[episodes.pixels.sum(-1) == 0] == 0).all()


def test_a_thing_in_view_is_in_front(episodes: Episodes) -> None:
    seen = episodes.pixels > 100
    assert seen.any()
    assert (np.abs(episodes.bearing[seen]) < 75).all()


def test_windows_hold_consecutive_frames_and_repeat_the_oldest() -> None:
    members = window_members(500, np.random.default_rng(0)).reshape(500, WINDOWS, WINDOW)
    steps = np.diff(members, axis=-1)
    assert set(np.unique(steps)) == {0, 1}
    assert (np.diff(steps, axis=-1) >= 0).all()  # only in front
    assert (members % CHUNK)[..., -1].min() == WINDOW - 1


def test_mirrored_chunks_mirror_picture_and_truth(episodes: Episodes) -> None:
    chunks = draw_chunks(episodes, 64, np.random.default_rng(3))
    for chunk in range(64):
        match = [
            (e, t)
            for e in range(len(episodes.frames))
            for t in range(10)
            if np.array_equal(chunks.frames[chunk, 0], episodes.frames[e, t, :, ::-1])
            and not np.array_equal(chunks.frames[chunk, 0], episodes.frames[e, t])
        ]
        for e, t in match[:1]:
            assert np.array_equal(chunks.bearing[chunk, 0], -episodes.bearing[e, t], equal_nan=True)


def test_targets_are_the_answers_one_step_ahead(episodes: Episodes) -> None:
    tokenizer = train_tokenizer()
    batch = Sampler(episodes, tokenizer, 0).batch(4, 20, 9)
    assert batch.ids.shape == batch.targets.shape
    end = tokenizer.token_to_id(END)
    for ids, targets in zip(batch.ids, batch.targets, strict=True):
        where = np.flatnonzero(targets != IGNORED)
        assert np.array_equal(targets[where], ids[where + 1])
        assert targets[where][-1] == end
        answer = tokenizer.decode(targets[where[:-1]].tolist())
        assert answer.endswith((".", "Nothing."))


def test_batches_are_the_same_for_the_same_seed(episodes: Episodes) -> None:
    tokenizer = train_tokenizer()
    one, two = (Sampler(episodes, tokenizer, 7).batch(3, 8, 6) for _ in range(2))
    assert np.array_equal(one.frames, two.frames)
    assert np.array_equal(one.ids, two.ids)


def test_the_tokenizer_keeps_any_text_and_a_word_is_a_token() -> None:
    tokenizer = train_tokenizer()
    assert tokenizer.to_str() == train_tokenizer().to_str()
    for text in (q.PLAN_ANSWERS[0].format(kind=KINDS[0]), "größer 你好 \n \t x"):
        assert tokenizer.decode(tokenizer.encode(text).ids) == text
    assert len(tokenizer.encode("Turn left: the red box is on your left.").ids) <= 12
    assert [len(tokenizer.encode(token).ids) for token in SPECIAL_TOKENS] == [1] * 4


def test_cases_are_clear_and_marked_by_their_own_truth(episodes: Episodes) -> None:
    cases = planning_cases(episodes, 5, 0) + perception_cases(episodes, 12, 0)
    assert {case.label for case in cases} >= {"unseen", "see", "where", "nearest"}
    assert all(case.right(case.answer) for case in cases)
    assert not any(case.right("Sing a song.") for case in cases)
    assert all(len(case.frames) == WINDOW for case in cases)
