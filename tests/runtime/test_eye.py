"""When the front is blind: no picture, an old one, or one that says nothing."""

from __future__ import annotations

import time

import pytest

from otter_runtime.drain import Drain
from otter_runtime.eye import Eye
from otter_runtime.sources import Spec

MS = 1_000_000


def test_a_camera_that_never_gives_a_frame_is_stale(monkeypatch: pytest.MonkeyPatch) -> None:
    drain = Drain([Spec("0")])
    monkeypatch.setattr(drain, "start", lambda: None)
    eye = Eye(drain, stale_ms=500)
    assert eye.blind(time.monotonic_ns() + 600 * MS) is None  # nobody looks yet
    eye.open(4.0)
    assert eye.blind(time.monotonic_ns()) is None
    blind = eye.blind(time.monotonic_ns() + 600 * MS)
    assert blind is not None
    assert blind[0] == "camera-stale"
    assert "no new frame for 0.6 s" in blind[1]
    drain.close()
