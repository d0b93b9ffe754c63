"""The truth of the pocket world, held to hand-made situations."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from otter_runtime.labels import action
from otter_tuning.pocket import questions as q
from otter_tuning.pocket.kinds import (
    HELD_OUT_TEXTURES,
    KINDS,
    SEEDS,
    TEXTURES,
    TRAINING_TEXTURES,
)

K = len(KINDS)
RED_BOX = KINDS.index("red box")


def plan(pixels: list[int], bearing: float, distance: float = 3.0) -> tuple[str, bool]:
    """Class and clarity for the red box whose visible pixels, oldest frame first, are `pixels`."""
    counts = np.zeros((len(pixels), K), np.int64)
    counts[:, RED_BOX] = pixels
    truth = q.plan(counts, np.full(K, bearing), np.full(K, distance))
    return q.CLASSES[truth.answer[RED_BOX]], bool(truth.clear[RED_BOX])


@pytest.mark.parametrize(
    ("pixels", "bearing", "distance", "label"),
    [
        ([0, 0, 0, 90], 25, 3.0, "left"),
        ([0, 0, 0, 90], -25, 3.0, "right"),
        ([90, 90, 90, 90], 4, 3.0, "forward"),
        ([90, 90, 90, 900], -4, 1.2, "stop"),
        ([90, 90, 90, 900], 25, 1.2, "left"),
        ([0, 0, 0, 0], 90, 3.0, "unseen"),
        ([90, 0, 0, 0], 60, 3.0, "remembered left"),
        ([90, 40, 0, 0], -60, 3.0, "remembered right"),
    ],
)
def test_each_class_has_its_situation(
    pixels: list[int], bearing: float, distance: float, label: str
) -> None:
    assert plan(pixels, bearing, distance) == (label, True)


@pytest.mark.parametrize(
    ("pixels", "bearing", "distance"),
    [
        ([0, 0, 0, 5], 25, 3.0),  # hardly any of it is to be seen
        ([0, 0, 0, 90], 13, 3.0),  # between ahead and left
        ([0, 0, 0, 90], 0, 1.65),  # between going on and stopping
        ([5, 0, 0, 0], 60, 3.0),  # was it seen or not
        ([90, 0, 0, 0], 175, 3.0),  # behind: either way is right
    ],
)
def test_a_borderline_situation_is_not_clear(
    pixels: list[int], bearing: float, distance: float
) -> None:
    assert not plan(pixels, bearing, distance)[1]


def test_a_thing_that_is_not_in_the_room_is_unseen() -> None:
    assert plan([0, 0, 0, 0], float("nan"), float("nan")) == ("unseen", True)


@given(
    pixels=st.lists(st.sampled_from([0, 20, 200]), min_size=4, max_size=4),
    bearing=st.floats(20, 80),
    distance=st.floats(0.5, 8),
)
def test_the_mirror_image_swaps_left_and_right(
    pixels: list[int], bearing: float, distance: float
) -> None:
    label, clear = plan(pixels, bearing, distance)
    mirrored, mirrored_clear = plan(pixels, -bearing, distance)
    swapped = {"left": "right", "remembered left": "remembered right"}.get(label, label)
    assert (mirrored, mirrored_clear) == (swapped, clear)


def test_the_nearest_thing_needs_a_gap_to_the_next() -> None:
    pixels = np.array([100, 100, *[0] * (K - 2)])
    distance = np.array([1.0, 2.0, *[np.nan] * (K - 2)])
    assert q.nearest(pixels, distance).answer == 0
    assert q.nearest(pixels, distance).clear
    assert not q.nearest(pixels, np.where(distance == 2, 1.2, distance)).clear


def test_nothing_in_view_is_nothing_nearest() -> None:
    truth = q.nearest(np.zeros(K, np.int64), np.full(K, 2.0))
    assert truth.clear
    assert q.nearest_answer(int(truth.answer)) == q.NOTHING


def test_the_action_of_a_plan_is_what_stands_before_the_colon() -> None:
    actions = {action(answer.format(kind="cone")) for answer in q.PLAN_ANSWERS}
    assert actions == {"turn left", "turn right", "go forward", "stop", "look around"}


def test_the_seeds_of_training_calibration_clip_and_evaluation_are_disjoint() -> None:
    ranges = sorted(SEEDS.values(), key=lambda seeds: seeds.start)
    assert all(len(seeds) > 10_000 for seeds in ranges)
    for before, after in itertools.pairwise(ranges):
        assert before.stop <= after.start


def test_held_out_textures_are_not_trained_on() -> None:
    assert len(HELD_OUT_TEXTURES) >= 4
    assert not set(HELD_OUT_TEXTURES) & set(TRAINING_TEXTURES)
    assert set(HELD_OUT_TEXTURES) | set(TRAINING_TEXTURES) == set(TEXTURES)
