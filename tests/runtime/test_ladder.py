"""The ladder: hysteresis, dwell and monotony, over any temperatures."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otter_runtime.ladder import Ladder

UP, DOWN, DWELL_S = [70.0, 80.0, 90.0], [65.0, 75.0, 85.0], 10.0
celsius = st.floats(0, 120, allow_subnormal=False)
maybe = st.none() | celsius
moments = st.lists(st.tuples(st.floats(0.05, 5), maybe, st.booleans()), max_size=80)


def walked(moments: list[tuple[float, float | None, bool]]) -> list[tuple[float, int, int]]:
    """Time, step before and step after of each change."""
    ladder, now_s, changes = Ladder(UP, DOWN, DWELL_S), 100.0, []
    for wait_s, temperature, throttling in moments:
        now_s += wait_s
        before = ladder.step
        changed = ladder.decide(temperature, throttling, now_s)
        assert changed == (ladder.step != before)
        if changed:
            changes.append((now_s, before, ladder.step))
    return changes


@given(moments)
def test_it_never_changes_faster_than_the_dwell(
    moments: list[tuple[float, float | None, bool]],
) -> None:
    times = [now_s for now_s, _, _ in walked(moments)]
    assert all(later - sooner >= DWELL_S for sooner, later in itertools.pairwise(times))


@given(moments)
def test_it_cools_one_step_at_a_time_and_stays_on_the_ladder(
    moments: list[tuple[float, float | None, bool]],
) -> None:
    for _, before, after in walked(moments):
        assert 0 <= after <= 3
        assert after >= before - 1


@given(moments, maybe, celsius, celsius)
def test_hotter_is_never_a_lower_step(
    moments: list[tuple[float, float | None, bool]],
    before: float | None,
    one: float,
    other: float,
) -> None:
    steps = []
    for temperature in sorted((one, other)):
        ladder = Ladder(UP, DOWN, DWELL_S)
        now_s = 0.0
        for wait_s, earlier, throttling in moments:
            now_s += wait_s
            ladder.decide(earlier, throttling, now_s)
        ladder.decide(temperature, False, now_s + DWELL_S)
        steps.append(ladder.step)
    assert steps == sorted(steps)


@given(st.lists(celsius, min_size=2, max_size=2))
def test_a_lasting_temperature_settles_and_hotter_settles_higher(temperatures: list[float]) -> None:
    settled = []
    for temperature in sorted(temperatures):
        ladder = Ladder(UP, DOWN, DWELL_S)
        changes = sum(ladder.decide(temperature, False, 20.0 * n) for n in range(20))
        assert changes <= 1  # straight there, and no way back
        settled.append(ladder.step)
    assert settled == sorted(settled)


def test_within_the_hysteresis_it_stays() -> None:
    ladder = Ladder(UP, DOWN, DWELL_S)
    assert ladder.decide(81, False, 0)
    assert ladder.step == 2
    assert not ladder.decide(76, False, 100)
    assert ladder.decide(74.9, False, 200)
    assert ladder.step == 1
    assert ladder.decide(20, False, 300)
    assert ladder.step == 0


def test_throttling_is_worth_a_step_and_forbids_going_down() -> None:
    ladder = Ladder(UP, DOWN, DWELL_S)
    assert ladder.decide(40, True, 0)
    assert ladder.step == 1
    assert ladder.decide(None, True, 20)
    assert ladder.step == 2
    assert not ladder.decide(None, False, 40)  # a lost sensor says nothing about cooling
    assert ladder.decide(20, False, 60)
    assert ladder.step == 1


@pytest.mark.parametrize("temperature", [None, 20.0, 200.0])
def test_without_steps_nothing_happens(temperature: float | None) -> None:
    ladder = Ladder([], [], DWELL_S)
    assert not ladder.decide(temperature, True, 0)
    assert (ladder.step, ladder.steps) == (0, 0)
