"""The rolling window: which frames it takes, what it forgets, and that work is done once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np

from otter_runtime.frame import Frame
from otter_runtime.window import Look, Sampler, Window


def look(frame: Frame, value: float) -> Look:
    return Look(frame.stamp, bytes([int(value)]), np.full((1, 2), value, np.float32))


def sampled(frame: Frame, rate_hz: float, stream_hz: float, frames: int) -> list[int]:
    sampler = Sampler(rate_hz)
    stamps = [
        msgspec.structs.replace(frame.stamp, id=i, stream_ns=round(i * 1e9 / stream_hz))
        for i in range(frames)
    ]
    return [stamp.id for stamp in stamps if sampler.wants(stamp)]


def test_the_sampler_keeps_the_rate_on_average(frame: Callable[..., Frame]) -> None:
    assert sampled(frame(0), 4, 4, 20) == list(range(20))
    assert sampled(frame(0), 4, 2, 20) == list(range(20))  # a slower source: all of it
    assert len(sampled(frame(0), 4, 30, 300)) == 40
    assert len(sampled(frame(0), 4, 29.97, 301)) == 41


def test_the_sampler_starts_afresh_with_a_scene(frame: Callable[..., Frame]) -> None:
    sampler = Sampler(1.0)
    assert sampler.wants(frame(0).stamp)
    assert not sampler.wants(frame(1).stamp)
    assert sampler.wants(msgspec.structs.replace(frame(0, scene=1).stamp, id=2))


def test_the_window_rolls_and_starts_afresh(frame: Callable[..., Frame]) -> None:
    window = Window(3)
    for number in range(5):
        window.add(look(frame(number), number))
    assert [stamp.id for stamp in window.stamps] == [2, 3, 4]
    window.add(look(frame(5, scene=1), 5))
    assert [stamp.id for stamp in window.stamps] == [5]


def test_a_medium_is_made_once_and_a_young_window_repeats(frame: Callable[..., Frame]) -> None:
    window, seen = Window(3), []

    def resample(features: Any) -> Any:
        seen.append(features[:, 0, 0].tolist())
        return object()

    window.add(look(frame(0), 1))
    window.add(look(frame(1), 2))
    assert window.medium is None
    medium = window.resample(resample)
    assert window.medium is medium
    assert seen == [[1.0, 1.0, 2.0]]
    window.add(look(frame(2), 3))
    assert window.medium is None


def test_a_small_window_repeats_to_what_the_model_tells_apart(
    frame: Callable[..., Frame],
) -> None:
    window = Window(1, told_apart=3)
    for number in range(2):
        window.add(look(frame(number), number + 1))
    features: Any = window.resample(lambda features: features).media  # type: ignore[arg-type,return-value]
    assert len(window) == 1
    assert features[:, 0, 0].tolist() == [2.0, 2.0, 2.0]


def test_the_hash_is_of_content_and_order(frame: Callable[..., Frame]) -> None:
    def digest(values: list[int]) -> bytes:
        window = Window(3)
        for number, value in enumerate(values):
            window.add(look(frame(number), value))
        return window.resample(lambda features: features).digest  # type: ignore[arg-type,return-value]

    assert digest([1, 2, 3]) == digest([9, 1, 2, 3])
    assert digest([1, 2, 3]) != digest([3, 2, 1])
