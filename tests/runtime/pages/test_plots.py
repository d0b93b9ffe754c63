"""Scales hold what they are given, their ticks are round, and a drawing is what its points are."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from otter_runtime.pages.plot import Band, Boxes, Plot, Series
from otter_runtime.pages.scale import clock, figures, magnitudes, moments

# No denormals: a process in which an engine ran may round them to zero.
values = st.lists(st.floats(-1e9, 1e9, allow_subnormal=False), max_size=20)


@settings(max_examples=50, deadline=None)
@given(values)
@example([1e9, 999999999.9999999])
@example([-1e9, -999999999.9999999])
def test_every_value_has_its_place(found: list[float]) -> None:
    for scale in (figures(found, least=None), figures(map(abs, found))):
        assert scale.low < scale.high
        assert 2 <= len(scale.ticks) <= 8
        assert list(scale.ticks) == sorted(set(scale.ticks))
        assert (scale.ticks[0], scale.ticks[-1]) == (scale.low, scale.high)
        assert len({scale.label(tick) for tick in scale.ticks}) == len(scale.ticks)
    scale = figures(found, least=None)
    room = 1e-6 * (scale.high - scale.low)
    assert all(scale.low - room <= value <= scale.high + room for value in found)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(1e-6, 1e9), max_size=20))
def test_magnitudes_are_a_decade_apart(found: list[float]) -> None:
    scale = magnitudes(found)
    assert all(0 <= scale.at(value) <= 1 for value in found)
    places = [scale.at(tick) for tick in scale.ticks]
    assert places == pytest.approx([n / (len(places) - 1) for n in range(len(places))])


@settings(max_examples=50, deadline=None)
@given(st.floats(0, 1e7, allow_subnormal=False))
def test_time_has_round_ticks_and_not_too_many(seconds: float) -> None:
    scale = moments(seconds)
    assert 2 <= len(scale.ticks) <= 10 or seconds < 0.1
    assert scale.ticks[-1] <= max(seconds, 0.1) * (1 + 1e-6)
    assert len({scale.label(tick) for tick in scale.ticks}) == len(scale.ticks)


@pytest.mark.parametrize(
    ("seconds", "tenths", "written"),
    [
        (0, False, "0:00"),
        (65.26, True, "1:05.3"),
        (65.9, False, "1:05"),
        (59.96, True, "1:00.0"),
        (3725, False, "1:02:05"),
    ],
)
def test_a_clock(seconds: float, tenths: bool, written: str) -> None:
    assert clock(seconds, tenths) == written


def drawn(*marks: Series | Boxes, bands: tuple[Band, ...] = ()) -> list[str]:
    """The paths of marks on a field of 10 by 100."""
    plot = Plot("Heat", "°C", "It rises.", moments(10), figures([100]), marks, bands)
    return re.findall(r'<path d="([^"]*)" class="(?!grid)', plot.html())


def test_marks_are_drawn_where_their_points_are() -> None:
    rising = [(0.0, 0.0), (5.0, 50.0), (10.0, 100.0)]
    assert drawn(Series("a", rising, "c1")) == ["M0.0 100.0L500.0 50.0L1000.0 0.0"]
    assert drawn(Series("a", rising, "c1", "steps")) == ["M0.0 100.0V100.0H500.0V50.0H1000.0V0.0"]
    assert drawn(Series("a", rising + rising, "c1", "dots")) == [
        "M0.0 100.0h0M500.0 50.0h0M1000.0 0.0h0"
    ]
    assert drawn(Series("a", [(5.0, None)], "c1", "rug")) == ["M500.0 100v-14"]
    assert drawn(Boxes("a", [(0, 5, 0, 50)], "c1")) == ["M0.0 100.0V50.0H500.0V100.0Z"]


def test_a_line_is_broken_where_nothing_is_known() -> None:
    points = [(0.0, 0.0), (2.0, None), (5.0, 50.0), (10.0, 50.0)]
    assert drawn(Series("a", points, "c1")) == ["M0.0 100.0M500.0 50.0L1000.0 50.0"]


def test_a_plot_has_its_words() -> None:
    plot = Plot(
        "Heat <b>", "°C", "It rises.", moments(10), figures([100]), [Series("now", [], "c1")]
    )
    page = plot.html()
    assert 'role="img" aria-label="Heat &lt;b&gt;. It rises."' in page
    assert "Heat &lt;b&gt;" in page
    assert "now</span>" in page
