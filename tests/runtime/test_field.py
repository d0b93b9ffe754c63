"""What happens to cameras in the field, done to real processes: what the bus says, and what not.

Time limits are far beyond what is promised: they are for a machine that does much else.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import cv2
import pytest
from tests.runtime.filmed import Filmed, grey, noise
from tests.runtime.run_process import Run, Start, noisy

from otter_robots.messages import Abstain, Answer, Fault, Health, Message

needs_gst = pytest.mark.skipif(
    not shutil.which("gst-launch-1.0"), reason="gst-launch-1.0 is not installed"
)
PLAN = ["--instruction", "What should I do next?", "--interval", "0.3"]
CAPS = "video/x-raw,width=64,height=48,framerate=10/1"
SNOW = f"videotestsrc is-live=true pattern=snow ! {CAPS}"
HOUR_NS = 3_600_000_000_000


def asked(run: Run) -> Abstain:
    reply = run.client.ask("What do you see?", 30)
    assert isinstance(reply, Abstain)
    return reply


def nothing_was_said_while_blind(run: Run) -> None:
    """No answer between a fault and its end is about a frame that was captured meanwhile."""
    since_ns: int | None = None
    for envelope, message in run.heard:
        if isinstance(message, Fault) and message.code.startswith("camera-"):
            since_ns = None if message.cleared else envelope.mono_ns
        elif isinstance(message, Answer) and since_ns is not None:
            assert message.captured_mono_ns <= since_ns


@needs_gst
def test_an_unplugged_camera_is_a_fault_and_comes_back(start: Start) -> None:
    run = start("--source", f"gst: {SNOW}", *PLAN)
    first = run.answer()
    pipeline = run.pipeline
    pipeline.kill()
    fault = run.fault("camera-lost")
    assert fault.detail == "gst: videotestsrc ended: killed by SIGKILL"
    assert not fault.cleared
    run.fault("camera-lost", cleared=True)
    again = run.answer()
    while again.frame_ids[0] <= first.frame_ids[-1]:
        again = run.answer()
    assert run.pipeline.pid != pipeline.pid
    assert run.process.poll() is None
    nothing_was_said_while_blind(run)


@needs_gst
def test_a_silent_camera_is_a_fault_an_abstention_and_opened_again(start: Start) -> None:
    run = start("--source", f"gst: {SNOW}", *PLAN)
    run.answer()
    pipeline = run.pipeline
    pipeline.suspend()
    before_ns = time.monotonic_ns()
    assert "no frame for" in run.fault("camera-silent").detail
    reply = run.client.ask("What do you see?", 30)
    if isinstance(reply, Abstain):
        assert reply.reason in ("camera-silent", "camera-lost")
    else:  # this machine took so long that the camera was back
        assert reply.captured_mono_ns > before_ns
    assert "gives no pictures" in run.fault("camera-lost").detail
    run.fault("camera-lost", cleared=True)
    run.answer()
    assert not pipeline.is_running()
    nothing_was_said_while_blind(run)


@needs_gst
def test_black_and_stuck_pictures_are_not_answered_from(start: Start, tmp_path: Path) -> None:
    camera = Filmed(tmp_path)
    run = start("--source", camera.source, *PLAN)
    run.answer()
    for code, level in (("camera-black", 5), ("camera-stuck", 90)):
        camera.film = partial(grey, level)
        run.fault(code)
        assert asked(run).reason == code
        camera.film = noise
        run.fault(code, cleared=True)
        run.answer()
    nothing_was_said_while_blind(run)


@needs_gst
def test_pictures_of_another_size_are_a_camera_that_is_opened_again(start: Start) -> None:
    small = CAPS.replace("width=64,height=48", "width=32,height=32")
    two_sizes = (
        f"gst: videotestsrc pattern=snow num-buffers=20 ! {CAPS} ! concat name=all "
        f"videotestsrc pattern=snow ! {small} ! all. all. ! identity sleep-time=50000"
    )
    run = start("--source", two_sizes, *PLAN)
    run.answer()
    assert "changed the size of its pictures (64x48)" in run.fault("camera-lost").detail
    run.fault("camera-lost", cleared=True)
    run.answer()
    nothing_was_said_while_blind(run)


def test_cut_pictures_of_a_folder_are_passed_over_and_counted(start: Start, tmp_path: Path) -> None:
    clip = cv2.VideoCapture(str(noisy(tmp_path / "clip.avi", 9)))
    folder = tmp_path / "pictures"
    folder.mkdir()
    cut = {2, 5, 8}
    for index in range(9):
        coded = cv2.imencode(".jpg", clip.read()[1])[1].tobytes()
        coded = coded[: len(coded) * 2 // 3] if index in cut else coded
        (folder / f"{index}.jpg").write_bytes(coded)
    clip.release()
    run = start("--source", str(folder), "--fast", *PLAN)
    run.end()
    assert [answer.source_index for answer in run.of(Answer)] == sorted(set(range(9)) - cut)
    healths: list[Health] = run.of(Health)
    # So short a run may end before its first heartbeat.
    assert all(health.frames_damaged <= 3 for health in healths)


CLOCK = """
import os, time
real_ns = time.time_ns
def time_ns():
    with open(os.environ["CLOCK"]) as file:
        return real_ns() + int(file.read()) * 1_000_000_000
time.time_ns, time.time = time_ns, lambda: time_ns() / 1e9
"""


def set_clock(clock: Path, by_s: int) -> None:
    """Set the wall clock of who reads this file, any time: it is replaced as a whole."""
    new = clock.with_suffix(".new")
    new.write_text(str(by_s))
    new.replace(clock)


def test_a_wall_clock_that_is_set_disturbs_nothing(start: Start, tmp_path: Path) -> None:
    clock = tmp_path / "clock"
    set_clock(clock, 0)
    (tmp_path / "sitecustomize.py").write_text(CLOCK)
    path = f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}"
    env = {"CLOCK": str(clock), "PYTHONPATH": path}
    clip = noisy(tmp_path / "long.avi", 400)
    run = start("--source", str(clip), "--instruction", "What should I do next?", env=env)
    before = run.answer()
    for hours in (1, -1):
        set_clock(clock, hours * 3600)
        run.until(is_off_by(before, hours * HOUR_NS))
    now = run.answer()
    assert now.frame_ids[-1] > before.frame_ids[-1]
    assert now.captured_mono_ns > before.captured_mono_ns
    answers: list[Answer] = run.of(Answer)
    assert all(0 <= answer.age_ms < 30_000 for answer in answers)
    envelopes = [envelope for envelope, message in run.heard if isinstance(message, Answer)]
    assert [envelope.seq for envelope in envelopes] == list(range(1, len(answers) + 1))
    assert len({envelope.epoch for envelope in envelopes}) == 1
    assert run.of(Fault) == []
    assert isinstance(run.client.ask("And now?", 30), Answer)
    health = run.until(lambda message: isinstance(message, Health))
    assert (health.brain_alive, health.brain_restarts) == (True, 0)
    assert health.uptime_s < 600
    run.process.send_signal(signal.SIGTERM)
    run.end()
    assert run.process.wait(30) == 0


def is_off_by(before: Answer, offset_ns: int) -> Callable[[Message], bool]:
    """Whether an answer's wall clock went so far ahead of its monotonic one since `before`."""

    def judge(message: Message) -> bool:
        if not isinstance(message, Answer):
            return False
        wall_ns = message.captured_wall_ns - before.captured_wall_ns
        mono_ns = message.captured_mono_ns - before.captured_mono_ns
        return abs(wall_ns - mono_ns - offset_ns) < 60e9

    return judge


SERVED = subprocess.run(
    ["/usr/bin/python3", "-c", "import gi; gi.require_version('GstRtspServer', '1.0')"],
    capture_output=True,
    check=False,
)


@contextmanager
def rtsp_server(port: int) -> Iterator[None]:
    with subprocess.Popen(
        ["/usr/bin/python3", str(Path(__file__).with_name("rtsp_process.py")), str(port)],
        stdout=subprocess.PIPE,
    ) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == b"listening\n"
        try:
            yield
        finally:
            server.kill()


@pytest.mark.skipif(SERVED.returncode != 0, reason="gst-rtsp-server is not installed")
def test_an_rtsp_server_that_restarts_is_a_lost_camera_that_comes_back(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with rtsp_server(port):
        run = start("--source", f"rtsp://me:secret@127.0.0.1:{port}/eye", *PLAN)
        answer = run.answer()
        assert answer.source == f"rtsp://127.0.0.1:{port}/eye"
    run.until(lambda message: isinstance(message, Fault) and not message.cleared)
    with rtsp_server(port):
        run.fault("camera-lost", cleared=True)
        assert run.answer().frame_ids[0] > answer.frame_ids[-1]
    nothing_was_said_while_blind(run)
    assert not any("secret" in str(heard) for heard in run.heard)
