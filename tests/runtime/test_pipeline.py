"""Pipelines of GStreamer: a stand-in that writes what it is told, and gst-launch where it is."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import psutil
import pytest

from otter_runtime.errors import CameraLost, UserError
from otter_runtime.pipeline import Pipeline
from otter_runtime.sources import Spec, public

needs_gst = pytest.mark.skipif(
    not shutil.which("gst-launch-1.0"), reason="gst-launch-1.0 is not installed"
)
HEADER = b"YUV4MPEG2 C420 W8 H2 Ip F10:1 A1:1\n"
PICTURE = b"FRAME\n" + bytes(range(100, 124))
NOISE = (
    "gst: videotestsrc is-live=true pattern=snow ! video/x-raw,width=64,height=48,framerate=20/1"
)

StandIn = Callable[..., None]


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StandIn:
    """A gst-launch-1.0 that writes these bytes, says this, and stays for so long."""

    def make(written: bytes, said: str = "", stays_s: float = 0) -> None:
        program = tmp_path / "gst-launch-1.0"
        program.write_text(
            f"#!{sys.executable}\n"
            "import os, sys, time\n"
            "pipe = int(sys.argv[-1].removeprefix('fd='))\n"
            f"print({said!r}, file=sys.stderr, flush=True)\n"
            f"os.write(pipe, {written!r})\n"
            f"time.sleep({stays_s})\n"
        )
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    return make


def test_whole_pictures_come_and_a_cut_one_does_not(stand_in: StandIn) -> None:
    stand_in(HEADER + PICTURE + PICTURE + PICTURE[:20], "ERROR: the cable is loose")
    reader = Pipeline("gst: camera")
    assert (reader.name, reader.rate_hz) == ("gst: camera", 10.0)
    pictures = reader.pictures()
    first, second = next(pictures), next(pictures)
    assert first.shape == (2, 8, 3)
    assert np.array_equal(first, second)
    with pytest.raises(CameraLost, match="gst: camera ended: ERROR: the cable is loose"):
        next(pictures)
    reader.close()


@pytest.mark.parametrize("then", [HEADER.replace(b"W8", b"W16") + PICTURE, b"\0" * 500])
def test_other_pictures_than_at_first_are_none(stand_in: StandIn, then: bytes) -> None:
    stand_in(HEADER + PICTURE + then, stays_s=30)
    reader = Pipeline("gst: camera")
    pictures = reader.pictures()
    next(pictures)
    with pytest.raises(CameraLost, match=r"changed the size of its pictures \(8x2\)"):
        next(pictures)
    reader.close()


@pytest.mark.parametrize(
    ("written", "said", "says"),
    [
        (b"", "could not start", "ended: could not start"),
        (b"", "", "ended: exit code 0"),
        (b"RIFF" * 100, "", "no Y4M"),
        (HEADER.replace(b"C420", b"C444"), "", "no Y4M"),
        (HEADER[:20], "", "ended"),
    ],
)
def test_what_gives_no_pictures_is_refused(
    stand_in: StandIn, written: bytes, said: str, says: str
) -> None:
    stand_in(written, said)
    with pytest.raises(UserError, match=says):
        Pipeline("gst: camera")


def test_a_silent_one_is_given_up_though_it_talks(
    stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("otter_runtime.pipeline.SILENT_S", 0.3)
    stand_in(HEADER + PICTURE, "x" * 200_000 + "\nlast words", stays_s=30)
    reader = Pipeline("gst: camera")
    pictures = reader.pictures()
    next(pictures)
    with pytest.raises(CameraLost, match="gives no pictures: last words"):
        next(pictures)
    reader.close()
    assert not psutil.pid_exists(reader.pid)


def test_no_gstreamer_is_the_line_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UserError, match=r"apt-get install gstreamer1\.0-tools"):
        Pipeline("gst: videotestsrc")


@pytest.mark.parametrize(("text", "says"), [("gst: 'a", "close the quot"), ("gst:", "no pipeline")])
def test_what_is_no_pipeline_is_refused(text: str, says: str) -> None:
    with pytest.raises(UserError, match=says):
        Spec(text).open()


def test_a_password_is_not_published() -> None:
    assert public("rtsp://me:secret@cam:554/a?b=c@d") == "rtsp://cam:554/a?b=c@d"
    assert Spec("rtsp://me:secret@cam/a").name == "rtsp://cam/a"
    assert public("gst: rtspsrc location=rtsp://u:p@h/x ! a") == (
        "gst: rtspsrc location=rtsp://h/x ! a"
    )


@needs_gst
def test_colours_and_any_width(tmp_path: Path) -> None:
    picture = np.random.default_rng(1).integers(0, 255, (6, 10, 3), np.uint8)
    picture = cv2.resize(picture, (320, 192), interpolation=cv2.INTER_CUBIC)
    cv2.imwrite(str(tmp_path / "a.png"), picture[:, :, ::-1])
    reader = Pipeline(f"gst: filesrc location={tmp_path}/a.png ! pngdec ! imagefreeze")
    seen = next(reader.pictures())
    reader.close()
    assert np.abs(seen.astype(int) - picture).mean() <= 2
    odd = Pipeline("gst: videotestsrc pattern=red ! video/x-raw,width=67,height=49")
    red = next(odd.pictures())
    odd.close()
    assert red.shape == (48, 64, 3)
    assert np.abs(red.astype(int) - [255, 0, 0]).max() <= 4


@needs_gst
@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("gst: nonsense", 'no element "nonsense"'),
        ("gst: v4l2src device=/dev/video77", "Cannot identify device"),
        ("gst: audiotestsrc", "could not link"),
        ("gst: videotestsrc foo=1", "erroneous pipeline"),
        ("gst: videotestsrc; rm -rf", "try it: gst-launch-1.0 'videotestsrc;' rm -rf"),
    ],
)
def test_what_gstreamer_says_is_said(text: str, says: str) -> None:
    with pytest.raises(UserError, match=says):
        Spec(text).open()


@needs_gst
def test_it_ends_with_whoever_started_it() -> None:
    code = (
        "import time\n"
        "from otter_runtime.pipeline import Pipeline\n"
        f"reader = Pipeline({NOISE!r})\n"
        "print(reader.pid, flush=True)\n"
        "time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        assert child.name().startswith("gst-launch")
        child.suspend()  # so that it cannot notice a closed pipe
        parent.kill()
    until_s = time.monotonic() + 20
    while child.is_running() and child.status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < until_s
        time.sleep(0.02)
