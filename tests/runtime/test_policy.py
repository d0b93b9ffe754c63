"""Which frames a policy chooses: by hand, and whatever it was told to forget."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from otter_runtime.config import WindowConfig
from otter_runtime.exemplars import NOWHEN
from otter_runtime.frame import Stamp
from otter_runtime.policy import TICKS, Keyframes, Last, Newest, Policy, Uniform, policy
from otter_runtime.sketch import SIDE, Sketch, change, sketched

SECOND = 1_000_000_000


@dataclass
class Seen:
    """A frame of one brightness, taken at a time."""

    at_ns: int
    level: int = 0
    sketch: Sketch = field(init=False)
    stamp: Stamp = field(init=False)

    def __post_init__(self) -> None:
        self.sketch = np.full((SIDE, SIDE), self.level, np.uint8)
        self.stamp = Stamp(
            **{
                name: getattr(NOWHEN, name)
                for name in Stamp.__struct_fields__
                if name != "stream_ns"
            },
            stream_ns=self.at_ns,
        )


def seconds(*times: float) -> list[Seen]:
    return [Seen(round(time * SECOND)) for time in times]


def chosen(how: Policy, known: list[Seen], size: int) -> list[float]:
    return [one.at_ns / SECOND for one in how.choose(known, size)]


def test_last_and_newest() -> None:
    known = seconds(0, 1, 2, 3, 4)
    assert chosen(Last(), known, 3) == [2, 3, 4]
    assert chosen(Newest(), known, 3) == [4]
    assert chosen(Last(), [], 3) == chosen(Newest(), [], 3) == []


def test_uniform_spreads_over_its_span_and_a_young_window_over_what_there_is() -> None:
    known = seconds(*range(13))
    assert chosen(Uniform(12 * SECOND), known, 4) == [0, 4, 8, 12]
    assert chosen(Uniform(6 * SECOND), known, 4) == [6, 8, 10, 12]
    assert chosen(Uniform(60 * SECOND), known[:3], 4) == [0, 1, 2]
    assert chosen(Uniform(12 * SECOND), known, 1) == [12]


def test_keyframes_are_what_changed_and_the_newest() -> None:
    known = [Seen(at * SECOND, level) for at, level in enumerate([0, 3, 60, 62, 120, 121, 122])]
    assert chosen(Keyframes(0.1), known, 4) == [0, 2, 4, 6]
    assert chosen(Keyframes(0.1), known, 3) == [2, 4, 6]
    assert chosen(Keyframes(0.1), known, 1) == [6]
    assert chosen(Keyframes(0.1), known[:5], 2) == [2, 4]  # the newest is one itself


@given(
    levels=st.lists(st.sampled_from([0, 10, 40, 90, 200]), min_size=1, max_size=30),
    gaps=st.lists(st.integers(0, 3 * SECOND), min_size=30, max_size=30),
    size=st.integers(1, 5),
    how=st.sampled_from([Last(), Newest(), Keyframes(0.1), Uniform(4 * SECOND)]),
)
def test_the_newest_is_there_and_what_was_forgotten_is_not_missed(
    levels: list[int], gaps: list[int], size: int, how: Policy
) -> None:
    known: list[Seen] = []
    everything: list[Seen] = []
    for level, gap in zip(levels, gaps, strict=False):
        one = Seen((everything[-1].at_ns if everything else 0) + gap, level)
        everything.append(one)
        known = how.remember([*known, one], size)
        window = how.choose(known, size)
        assert window[-1] is one
        assert len(window) <= size
        assert window == sorted(window, key=lambda seen: seen.at_ns)
        assert len(known) <= max(size, TICKS + 1, 2)
        if not isinstance(how, Uniform):  # which remembers by the tick
            assert [id(x) for x in window] == [id(x) for x in how.choose(everything, size)]


def test_uniform_over_what_it_remembers_is_off_by_a_tick_at_most() -> None:
    how, size = Uniform(8 * SECOND), 5
    known: list[Seen] = []
    everything: list[Seen] = []
    for number in range(3000):
        everything.append(Seen(number * SECOND // 30))
        known = how.remember([*known, everything[-1]], size)
    exact, kept = (chosen(how, frames, size) for frames in (everything, known))
    assert np.abs(np.subtract(exact, kept)).max() <= 8 / TICKS


@pytest.mark.parametrize(("height", "width"), [(1, 1), (16, 16), (37, 51), (720, 1280)])
def test_a_sketch_has_one_size_and_ignores_noise(height: int, width: int) -> None:
    random = np.random.default_rng(0)
    dark = np.full((height, width, 3), 60, np.uint8)
    noisy = (dark + random.integers(-8, 9, dark.shape)).astype(np.uint8)
    assert sketched(dark).shape == (SIDE, SIDE)
    assert change(sketched(dark), sketched(dark)) == 0
    assert change(sketched(dark), sketched(noisy)) < 0.06
    assert change(sketched(dark), sketched(dark + 100)) == pytest.approx(100 / 255)


@pytest.mark.parametrize("shape", [(1, 1), (37, 51), (720, 1280)])
def test_a_sketch_is_the_mean_of_samples_evenly_apart(shape: tuple[int, int]) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (*shape, 3), np.uint8)
    middles = (np.arange(4 * SIDE) + 0.5) / (4 * SIDE)
    rows, columns = (np.floor(middles * edge).astype(int) for edge in shape)
    cells = pixels[np.ix_(rows, columns)].reshape(SIDE, 4, SIDE, 12)
    np.testing.assert_array_equal(sketched(pixels), np.floor(cells.mean((1, 3))))
    mirrored = pixels[:, ::-1]  # not in order in memory
    np.testing.assert_array_equal(sketched(mirrored), sketched(mirrored.copy()))


def test_a_sketch_sees_where_something_is() -> None:
    left, right = np.zeros((2, 48, 64, 3), np.uint8)
    left[:, :32], right[:, 32:] = 200, 200
    assert change(sketched(left), sketched(right)) == pytest.approx(200 / 255)


def test_the_configuration_names_it() -> None:
    made = [
        policy(WindowConfig(policy=name)) for name in ("last", "uniform", "keyframes", "newest")
    ]
    assert made == [Last(), Uniform(16 * SECOND), Keyframes(0.06), Newest()]
