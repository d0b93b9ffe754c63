"""A GStreamer pipeline as a camera: a child process that writes its pictures into a pipe.

So a camera that only its vendor's GStreamer knows (CSI on a Jetson) works with any OpenCV, and a
driver that crashes takes its own process with it. What the child writes is Y4M: a header line with
the size, then a marker before each picture, so that no size has to be declared and a cut or resized
picture shows. It knows processes and Y4M; it does not know time beyond its own patience.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import select
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator

import cv2
import numpy as np

from otter_runtime.errors import CameraLost, UserError
from otter_runtime.frame import Pixels
from otter_runtime.rate import sane_hz

PREFIX = "gst:"
FIRST_S = 10.0  # until the first picture: a CSI camera takes seconds to start
SILENT_S = 2.0  # between two pictures; then the pipeline is ended and started again
END_S = 1.0  # for a pipeline to give its camera back before it is killed
PIPE_BYTES = 1 << 20
HEADER_BYTES = 256
MARKER = b"FRAME\n"
LAST_WORDS = 4096  # bytes that are kept of what the child says

# What cameras give anyway, and what OpenCV reads in one go. y4menc pads the rows of a plane to a
# multiple of 4 bytes without saying so (1.22), hence the width's step.
TAIL = (
    "! videoconvert ! videoscale ! video/x-raw,format=I420,colorimetry=bt601,"
    "width=[8,16384,8],height=[2,16384,2] ! y4menc ! fdsink"
)
PACKAGES = "gstreamer1.0-tools gstreamer1.0-plugins-base gstreamer1.0-plugins-good"


class Pipeline:
    """A pipeline that was started and gave its first header.

    Raises UserError, with what GStreamer said, for one that gives no picture within FIRST_S.
    """

    live = True

    def __init__(self, text: str) -> None:
        words = _words(text)
        self.name = f"{PREFIX} {words[0]}"
        self._said = b""
        self._process, self._pictures, self._talk = _started(words)
        try:
            self.width, self.height, self.rate_hz = self._header()
        except CameraLost as error:
            self.close()
            raise UserError(f"{error}; try it: {shlex.join(['gst-launch-1.0', *words])}") from error

    @property
    def pid(self) -> int:
        """The child's process id."""
        return self._process.pid

    def pictures(self) -> Iterator[Pixels]:
        """Pictures (height, width, 3) as they come.

        Raises CameraLost, with what GStreamer said, when the pipeline ends, is silent for SILENT_S,
        or writes anything but whole pictures of the first one's size.
        """
        while True:
            planes = np.empty((self.height * 3 // 2, self.width), np.uint8)
            until_s = time.monotonic() + SILENT_S
            if self._take(len(MARKER), until_s) != MARKER:
                raise CameraLost(
                    f"{self.name} changed the size of its pictures ({self.width}x{self.height}) or "
                    "cut one off"
                )
            self._fill(planes.data.cast("B"), until_s)
            yield np.asarray(cv2.cvtColor(planes, cv2.COLOR_YUV2RGB_I420), np.uint8)

    def close(self) -> None:
        """End the child, which gives its camera back first if it can."""
        self._process.send_signal(signal.SIGINT)
        until_s = time.monotonic() + END_S
        scrap = memoryview(bytearray(PIPE_BYTES))
        with contextlib.suppress(CameraLost):  # the pipe's end, or no more patience
            while time.monotonic() < until_s:
                self._fill(scrap, until_s)
        self._process.kill()
        self._process.wait()
        os.close(self._pictures)
        os.close(self._talk)

    def _header(self) -> tuple[int, int, float]:
        """Width, height and rate, from the line that Y4M begins with."""
        until_s = time.monotonic() + FIRST_S
        line = b""
        while not line.endswith(b"\n") and len(line) < HEADER_BYTES:
            line += self._take(1, until_s)
        found = re.match(rb"YUV4MPEG2 C420\w* W(\d+) H(\d+) .*F(\d+):(\d+)", line)
        if not found:
            raise CameraLost(f"{self.name} began with {line!r}, which is no Y4M of 4:2:0")
        width, height, frames, seconds = map(int, found.groups())
        return width, height, sane_hz(frames / seconds if seconds else 0.0)

    def _take(self, count: int, until_s: float) -> bytes:
        taken = bytearray(count)
        self._fill(memoryview(taken), until_s)
        return bytes(taken)

    def _fill(self, view: memoryview, until_s: float) -> None:
        """Read so many bytes; what the child says meanwhile is read too, so that it never waits."""
        while view:
            self._await(until_s)
            count = os.readv(self._pictures, [view])
            if count == 0:
                raise CameraLost(f"{self.name} ended: {self._last_words()}")
            view = view[count:]

    def _await(self, until_s: float) -> None:
        """Wait for bytes of a picture, or the pipe's end."""
        poll = select.poll()
        poll.register(self._pictures, select.POLLIN)
        poll.register(self._talk, select.POLLIN)
        while True:
            ready = dict(poll.poll(max(0.0, until_s - time.monotonic()) * 1e3))
            if self._talk in ready and not self._listen():
                poll.unregister(self._talk)
            if self._pictures in ready:
                return
            if time.monotonic() >= until_s:
                raise CameraLost(f"{self.name} gives no pictures: {self._last_words()}")

    def _listen(self) -> bool:
        """Keep the end of what the child says; False where it says no more."""
        try:
            said = os.read(self._talk, LAST_WORDS)
        except BlockingIOError:
            return True
        self._said = (self._said + said)[-LAST_WORDS:]
        return bool(said)

    def _last_words(self) -> str:
        """The first error that the child told of, else the last thing it said."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(0.2)
        before = None
        while before != self._said and self._listen():
            before = self._said
        lines = [line.strip() for line in self._said.decode(errors="replace").splitlines()]
        lines = [line for line in lines if line]
        errors = [line for line in lines if line.startswith(("ERROR", "WARNING: erroneous"))]
        said = [*errors[:1], *lines[-1:], _state(self._process.poll())]
        return said[0]


def _state(code: int | None) -> str:
    if code is None:
        return "it runs and says nothing"
    return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


def _words(text: str) -> list[str]:
    """The user's pipeline as gst-launch takes it; quoted as for a shell, and no shell reads it."""
    try:
        words = shlex.split(text.removeprefix(PREFIX))
    except ValueError as error:
        raise UserError(f"{text!r} is no pipeline ({error}); close the quotation") from error
    if not words:
        raise UserError("gst: has no pipeline; write one, for example 'gst: v4l2src'")
    return words


def _started(words: list[str]) -> tuple[subprocess.Popen[bytes], int, int]:
    """The child, the pipe of its pictures, and the pipe of all that it and its plugins say."""
    launch = shutil.which("gst-launch-1.0")
    if launch is None:
        raise UserError(f"gst-launch-1.0 is not installed; run: apt-get install {PACKAGES}")
    ours, theirs = os.pipe()
    talk, mouth = os.pipe()
    os.set_blocking(talk, False)
    with contextlib.suppress(OSError):  # beyond what this user may have
        fcntl.fcntl(ours, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    try:
        process = subprocess.Popen(
            [*_leash(), launch, "--quiet", *words, *TAIL.split(), f"fd={theirs}"],
            stdin=subprocess.DEVNULL,
            # Vendors' plugins print to either.
            stdout=mouth,
            stderr=mouth,
            pass_fds=[theirs],
            start_new_session=True,  # Ctrl-C is for the front
        )
    except OSError as error:  # no memory, too many processes
        os.close(ours)
        os.close(talk)
        raise UserError(f"{launch} does not start ({error.strerror})") from error
    finally:
        os.close(theirs)
        os.close(mouth)
    return process, ours, talk


def _leash() -> list[str]:
    """Kills the child with the thread that started it, however that ends.

    Where setpriv is missing, a child whose front is gone ends at its next picture.
    """
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "KILL"] if setpriv else []
