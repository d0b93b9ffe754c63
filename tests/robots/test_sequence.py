"""Holes, duplicates and restarts, told from the numbers alone."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from otter_robots.sequence import Sequence


def take(*numbers: tuple[str, int]) -> tuple[Sequence, list[bool]]:
    sequence = Sequence()
    return sequence, [sequence.take(epoch, seq) for epoch, seq in numbers]


def test_a_late_joiner_has_lost_nothing() -> None:
    sequence, taken = take(("a", 41), ("a", 42))
    assert taken == [True, True]
    assert sequence.lost == 0


def test_a_hole_is_counted() -> None:
    sequence, _ = take(("a", 1), ("a", 5), ("a", 6), ("a", 8))
    assert sequence.lost == 4


def test_duplicates_are_dropped() -> None:
    sequence, taken = take(("a", 1), ("a", 1), ("a", 2), ("a", 1))
    assert taken == [True, False, True, False]
    assert (sequence.duplicates, sequence.lost) == (2, 0)


def test_a_restart_loses_what_it_published_before_it_was_heard() -> None:
    sequence, taken = take(("1-a", 7), ("2-b", 3))
    assert taken == [True, True]
    assert (sequence.restarts, sequence.lost) == (1, 2)


def test_a_replaced_epoch_never_comes_back() -> None:
    sequence, taken = take(("1-a", 1), ("2-b", 1), ("1-a", 2), ("2-b", 2))
    assert taken == [True, True, False, True]
    assert (sequence.stale, sequence.restarts) == (1, 1)


def test_a_counter_that_starts_anew_deafens_nobody() -> None:
    _, taken = take(("0000000042-a", 9), ("0000000001-b", 1))
    assert taken == [True, True]


@given(st.lists(st.integers(1, 30), min_size=1, unique=True).map(sorted))
def test_taken_and_lost_add_up(numbers: list[int]) -> None:
    sequence, taken = take(*[("a", seq) for seq in numbers])
    assert sum(taken) + sequence.lost == numbers[-1] - numbers[0] + 1
