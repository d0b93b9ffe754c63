"""A recording played twice gives the same bytes, and the virtual clock's table decides when."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest
from PIL import Image as Pillow

from otter_robots.messages import Image
from otter_runtime.brain import Settings
from otter_runtime.config import WindowConfig
from otter_runtime.frame import Frame
from otter_runtime.replayed import Given, Told, replayed
from otter_runtime.wire import Ask, Declined, Drop, Limit, Pin, Pinned, Said

MS = 1_000_000
PERIOD = 250 * MS


def exemplar() -> Pin:
    file = io.BytesIO()
    pixels = np.random.default_rng(1).integers(0, 255, (24, 24, 3), np.uint8)
    Pillow.fromarray(pixels).save(file, "png")
    images = (Image(width=24, height=24, encoding="png"),)
    return Pin(id="a", question="Is it?", answer="Yes.", images=images, files=(file.getvalue(),))


def recording(frame: Callable[..., Frame]) -> list[Given]:
    """Three seconds: frames, an instruction each second, questions, an exemplar, a limit."""
    given: list[Given] = [Given(5 * MS, exemplar())]
    for number in range(12):
        at_ns = number * PERIOD + 10 * MS
        given.append(Given(at_ns, frame(number)))
        if number % 4 == 0:
            given.append(Given(at_ns + MS, Ask(id=f"s{number}", text="Go!", standing=True)))
        if number % 3 == 1:
            ask = Ask(id=f"q{number}", text="Where?", conversation="c", priority=number)
            given.append(Given(at_ns + 7 * MS, ask))
            cut = Ask(id=f"d{number}", text="And?", deadline_ns=at_ns + 20 * MS)
            given.append(Given(at_ns + 8 * MS, cut))
        if number == 7:
            given.append(Given(at_ns + 9 * MS, Drop("q7")))
            given.append(Given(at_ns + 9 * MS, Limit(frames=2, max_new_tokens=9)))
    return given


def packed(told: list[Told]) -> bytes:
    return msgspec.msgpack.encode(told)


@pytest.mark.parametrize("policy", ["last", "uniform", "keyframes", "newest"])
def test_the_same_recording_gives_the_same_bytes_twice(
    bundle: Path,
    frame: Callable[..., Frame],
    policy: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    window = msgspec.convert({"policy": policy, "span_s": 2.0, "change": 0.01}, WindowConfig)
    settings = Settings(bundle=str(bundle), threads=1, window=window, history_tokens=40)
    given = recording(frame)
    once = list(replayed(given, settings))
    monkeypatch.setattr(time, "monotonic_ns", lambda: 0)  # another machine, at another time
    assert packed(list(replayed(given, settings))) == packed(once)
    ends = {one.event.id: one for one in once if isinstance(one.event, (Said, Declined))}
    asked = {one.what.id: one.what for one in given if isinstance(one.what, Ask)}
    assert ends.keys() == asked.keys()
    assert [one.event for one in once if isinstance(one.event, Pinned)] == [Pinned("a")]
    for name, ask in asked.items():
        assert ask.deadline_ns is None or ends[name].at_ns < ask.deadline_ns
    assert [one.at_ns for one in once] == sorted(one.at_ns for one in once)
