"""Frames that are pushed: which are let in, and what is asked about them."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from otter_robots import endpoints
from otter_robots.client import Client
from otter_robots.errors import UserError
from otter_robots.messages import Abstain, Answer, Fault, Health, Picture, Status
from otter_robots.topics import FAULT, HEALTH, STATUS
from otter_runtime.errors import DamagedPicture
from otter_runtime.frame import Pixels
from otter_runtime.pushed import Pushed, decode

PERIOD_NS = 250_000_000
QUESTION = "Can you see the red box?"


def pixels(seed: int, side: int = 64) -> Pixels:
    return np.random.default_rng(seed).integers(0, 255, (side, side, 3), np.uint8)


def coded(picture: Pixels, encoding: str) -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, encoding)
    return file.getvalue()


def message(number: int, *, encoding: str = "jpeg", side: int = 64, scene: int = 0) -> Picture:
    return Picture(
        number=number,
        width=side,
        height=side,
        encoding=encoding,  # type: ignore[arg-type]
        taken_ns=number * PERIOD_NS,
        scene=scene,
        source="chest",
    )


@pytest.mark.parametrize("encoding", ["png", "rgb8"])
def test_what_is_pushed_is_what_is_taken(encoding: str) -> None:
    picture = pixels(1)
    blob = picture.tobytes() if encoding == "rgb8" else coded(picture, encoding)
    assert np.array_equal(decode(message(0, encoding=encoding), blob), picture)


@pytest.mark.parametrize("encoding", ["jpeg", "png"])
def test_no_damaged_file_is_let_in(encoding: str) -> None:
    blob = coded(pixels(1), encoding)
    whole = message(0, encoding=encoding)
    for broken in (b"", blob[: len(blob) // 2], blob[:40], os.urandom(300)):
        with pytest.raises(DamagedPicture, match="no whole"):
            decode(whole, broken)


@pytest.mark.parametrize("encoding", ["jpeg", "png", "rgb8"])
def test_a_picture_of_another_size_is_not_what_it_says(encoding: str) -> None:
    small = pixels(1, side=32)
    blob = small.tobytes() if encoding == "rgb8" else coded(small, encoding)
    with pytest.raises(DamagedPicture, match=r"32x32|got 3072"):
        decode(message(0, encoding=encoding), blob)


def test_a_file_that_unfolds_into_gigabytes_is_not_decoded() -> None:
    blob = bytearray(coded(pixels(1), "png"))
    blob[16:24] = (60_000).to_bytes(4, "big") * 2
    with pytest.raises(DamagedPicture):
        decode(message(0, encoding="png"), bytes(blob))


def test_the_newest_counts_and_a_scene_begins_with_its_sender() -> None:
    pushed = Pushed()
    for number in range(3):
        pushed.push(b"a", message(number), coded(pixels(number), "jpeg"))
    frame = pushed.take()
    assert frame is not None
    assert (frame.stamp.index, frame.stamp.stream_ns, frame.stamp.scene) == (2, 2 * PERIOD_NS, 0)
    assert (pushed.dropped, pushed.take()) == (2, None)
    scenes = []
    for sender, scene in ((b"a", 0), (b"a", 1), (b"b", 1)):
        pushed.push(sender, message(3, scene=scene), coded(pixels(3), "jpeg"))
        taken = pushed.take()
        assert taken is not None
        scenes.append((taken.stamp.id, taken.stamp.scene, taken.stamp.source))
    assert scenes == [(3, 0, "chest"), (4, 1, "chest"), (5, 2, "chest")]


def test_an_old_frame_is_refused() -> None:
    pushed = Pushed()
    pushed.push(b"a", message(5), coded(pixels(5), "jpeg"))
    with pytest.raises(DamagedPicture, match=r"frame 4 .* came after frame 5"):
        pushed.push(b"a", message(4), coded(pixels(4), "jpeg"))
    assert pushed.damaged == 1


def test_another_size_is_another_scene() -> None:
    pushed = Pushed()
    pushed.push(b"a", message(0), coded(pixels(0), "jpeg"))
    small = coded(pixels(1, side=32), "jpeg")
    with pytest.raises(DamagedPicture, match=r"32x32, its scene began with 64x64"):
        pushed.push(b"a", message(1, side=32), small)
    pushed.push(b"a", message(1, side=32, scene=1), small)
    assert pushed.damaged == 1


def test_only_a_frame_that_its_asker_pushed_can_be_waited_for() -> None:
    pushed = Pushed()
    assert pushed.awaited(b"a", 0) is None
    pushed.push(b"a", message(5), coded(pixels(5), "jpeg"))
    assert pushed.awaited(b"a", 5) == 0
    assert pushed.awaited(b"a", 6) is None
    assert pushed.awaited(b"b", 5) is None


def test_the_age_is_the_senders_word() -> None:
    pushed = Pushed(latency_ms=200)
    old = Picture(number=0, width=64, height=64, encoding="jpeg", taken_ns=0, age_ms=400.0)
    pushed.push(b"a", old, coded(pixels(1), "jpeg"))
    frame = pushed.take()
    assert frame is not None
    assert time.monotonic_ns() - frame.stamp.mono_ns >= 600_000_000


# Against a run of its own.


@pytest.fixture(scope="module")
def run() -> Iterator[Path]:
    """The folder of a running `otter-edge run --source bus` with the pocket model."""
    with tempfile.TemporaryDirectory(prefix="otter-") as name:
        config = Path(name) / "run.yaml"
        config.write_text("stale_ms: 3000\n")  # the machine may be busy
        words = ["run", "--source", "bus", "--folder", name, "--config", str(config)]
        process = subprocess.Popen(
            [sys.executable, "-m", "otter_runtime", *words], stdout=subprocess.DEVNULL
        )
        try:
            with client(Path(name)) as bus:
                until_s = time.monotonic() + 60
                while not health(bus).brain_alive:
                    assert time.monotonic() < until_s
            yield Path(name)
        finally:
            process.terminate()
            process.wait(20)


def client(folder: Path) -> Client:
    return Client(endpoints.stream_endpoint(folder), endpoints.requests_endpoint(folder), "robot")


def health(bus: Client) -> Health:
    for _, heard in bus.messages([HEALTH], timeout_s=30):
        if isinstance(heard, Health):
            return heard
    raise AssertionError("no heartbeat")


def push(bus: Client, number: int, scene: int = 0) -> None:
    bus.push(message(number, scene=scene), coded(pixels(number), "jpeg"))


def test_an_answer_is_about_the_frame_that_was_pushed_before(run: Path) -> None:
    with client(run) as bus:
        for number in range(6):
            push(bus, number)
            answer = bus.ask(QUESTION, frame=number)
            assert isinstance(answer, Answer)
            assert (answer.source, answer.source_index) == ("chest", number)
            assert len(answer.frame_ids) == min(number + 1, 4)


def test_the_last_frame_of_a_burst_is_seen(run: Path) -> None:
    with client(run) as bus:
        for number in range(40):  # faster than they are encoded
            push(bus, number)
        answer = bus.ask(QUESTION, timeout_s=20, frame=39)
        assert isinstance(answer, Answer)
        assert answer.source_index == 39


def test_another_scene_empties_the_window(run: Path) -> None:
    with client(run) as bus:
        bus.subscribe([STATUS])
        for number in range(3):
            push(bus, number)
        push(bus, 0, scene=1)
        answer = bus.ask(QUESTION, frame=0)
        assert isinstance(answer, Answer)
        assert (answer.source_index, len(answer.frame_ids)) == (0, 1)
        heard = bus.receive(30)
        assert heard is not None
        assert isinstance(heard[1], Status)
        assert heard[1].state == "running"


def test_a_refused_frame_is_counted_and_its_sender_told(run: Path) -> None:
    with client(run) as bus:
        before = health(bus).frames_damaged
        whole = coded(pixels(0), "jpeg")
        for blob in (whole[:-200], coded(pixels(0, side=32), "jpeg")):
            with pytest.raises(UserError, match="refused the request: frame 0 is"):
                bus.push(message(0), blob)
        abstained = bus.ask(QUESTION, frame=0)
        assert isinstance(abstained, Abstain)
        assert abstained.reason == "no-such-frame"
        push(bus, 0)
        assert isinstance(bus.ask(QUESTION, frame=0), Answer)
        bus.receive(0)
        until_s = time.monotonic() + 30
        while health(bus).frames_damaged != before + 2:
            assert time.monotonic() < until_s


def test_a_silent_camera_is_stale_until_it_speaks_again(run: Path) -> None:
    with client(run) as bus:
        bus.subscribe([FAULT])
        push(bus, 0)
        assert isinstance(bus.ask(QUESTION, frame=0), Answer)
        faults = (fault for _, fault in bus.messages([FAULT], 60) if isinstance(fault, Fault))
        assert any((fault.code, fault.cleared) == ("camera-stale", False) for fault in faults)
        abstained = bus.ask(QUESTION)
        assert isinstance(abstained, Abstain)
        assert abstained.reason == "camera-stale"
        push(bus, 1)
        assert isinstance(bus.ask(QUESTION, frame=1), Answer)


def test_a_frame_above_the_limit_is_refused_before_it_is_sent(run: Path) -> None:
    huge = Picture(number=0, width=800, height=600, encoding="rgb8", taken_ns=0)
    with client(run) as bus, pytest.raises(UserError, match="1440000 bytes, the bus takes"):
        bus.push(huge, bytes(800 * 600 * 3))
