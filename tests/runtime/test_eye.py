"""When the front is blind: no picture, an old one, or one that says nothing."""

from __future__ import annotations

import time
from collections.abc import Callable

import msgspec
import numpy as np
import pytest

from otter_runtime.drain import Drain
from otter_runtime.eye import Eye
from otter_runtime.frame import Frame
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
    assert "no frame yet, for 0.6 s" in blind[1]
    drain.close()


@pytest.mark.parametrize("silent_ms", [300.0, None])
def test_a_camera_owes_frames_and_who_pushes_them_does_not(
    monkeypatch: pytest.MonkeyPatch, frame: Callable[..., Frame], silent_ms: float | None
) -> None:
    drain = Drain([Spec("0")])
    monkeypatch.setattr(drain, "start", lambda: None)
    eye = Eye(drain, stale_ms=2000, silent_ms=silent_ms)
    eye.open(4.0)
    seen = frame(0)
    now_ns = time.monotonic_ns()
    stamp = msgspec.structs.replace(seen.stamp, mono_ns=now_ns)
    monkeypatch.setattr(drain, "take", lambda: Frame(stamp, seen.pixels))
    assert eye.look() is not None
    assert eye.blind(now_ns + 250 * MS) is None
    silent = eye.blind(time.monotonic_ns() + 500 * MS)
    assert (silent and silent[0]) == ("camera-silent" if silent_ms else None)
    # A black picture is a sign of life, though it is not answered from.
    monkeypatch.setattr(drain, "take", lambda: Frame(stamp, np.zeros_like(seen.pixels)))
    eye.look()
    black = eye.blind(now_ns)
    assert black is not None
    assert black[0] == "camera-black"
    drain.close()


def test_what_is_old_on_arrival_is_stale(
    monkeypatch: pytest.MonkeyPatch, frame: Callable[..., Frame]
) -> None:
    drain = Drain([Spec("0")])
    monkeypatch.setattr(drain, "start", lambda: None)
    eye = Eye(drain, stale_ms=500, silent_ms=300)
    eye.open(4.0)
    seen = frame(0)
    now_ns = time.monotonic_ns()
    stamp = msgspec.structs.replace(seen.stamp, mono_ns=now_ns - 700 * MS)
    monkeypatch.setattr(drain, "take", lambda: Frame(stamp, seen.pixels))
    eye.look()
    blind = eye.blind(now_ns)
    assert blind is not None
    assert blind[0] == "camera-stale"
    drain.close()
