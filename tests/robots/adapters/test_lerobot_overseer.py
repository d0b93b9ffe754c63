"""The guard beside a control loop: holds on a stop and in silence, pushes frames that fit."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from otter_robots import endpoints
from otter_robots.adapters.lerobot.overseer import Overseer
from otter_robots.client import Client


def wait(true: Callable[[], object]) -> None:
    until_s = time.monotonic() + 60
    while not true() and time.monotonic() < until_s:
        time.sleep(0.01)
    assert true()


@pytest.fixture
def connect(tmp_path: Path) -> Callable[[], Client]:
    stream, requests = endpoints.stream_endpoint(tmp_path), endpoints.requests_endpoint(tmp_path)
    return lambda: Client(stream, requests)


@pytest.fixture
def overseer(connect: Callable[[], Client]) -> Iterator[Overseer]:
    one = Overseer(connect, rate_hz=1000)
    yield one
    one.close()


def test_it_holds_until_a_runtime_is_heard_and_when_it_falls_silent(
    overseer: Overseer, runtime: Any
) -> None:
    wait(lambda: overseer.why is None)
    runtime.tell(silent=True)
    wait(lambda: overseer.why is not None)
    assert "no heartbeat for" in str(overseer.why)
    runtime.tell(silent=False)
    time.sleep(0.5)
    assert overseer.why is not None, "it stays held until somebody resumes it"


def test_it_holds_before_any_runtime_unless_told_otherwise(connect: Callable[[], Client]) -> None:
    for wait_for_runtime, why in [(True, "no heartbeat was heard yet"), (False, None)]:
        one = Overseer(connect, wait_for_runtime=wait_for_runtime)
        assert one.why == why
        one.guard.stop("a person's hand")
        assert one.why == "a person's hand"
        one.close()
        assert one.why is not None


@pytest.mark.parametrize(
    ("height", "width", "sent"),
    [(48, 64, (48, 64)), (480, 640, (480, 640)), (720, 1280, (360, 640))],
)
def test_a_frame_is_pushed_as_it_is_or_thinned_out(
    overseer: Overseer, runtime: Any, height: int, width: int, sent: tuple[int, int]
) -> None:
    frame = np.zeros((height, width, 3), np.uint8)
    overseer.show(frame, "front")
    picture = runtime.wait(lambda event: event.get("type") == "Picture")
    assert (picture["height"], picture["width"]) == sent
    assert picture["size"] == sent[0] * sent[1] * 3
    assert (picture["encoding"], picture["source"]) == ("rgb8", "front")
    wait(lambda: overseer.pusher.pushed == 1)
