"""Where frames come from: video files, folders of images, single images and cameras.

A reader opens one of them and hands out its pictures in order. It knows OpenCV; it does not know
about time passing (see `drain`) nor about windows. Pipelines of GStreamer are in `pipeline`.
"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

# Both must stand before OpenCV loads: its codecs' complaints are no answer to a user's mistake.
os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
# A silent V4L2 camera is given up after so many seconds (10 otherwise) and opened again.
os.environ.setdefault("OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT", "2")

import cv2
from PIL import Image

from otter_runtime.errors import UserError
from otter_runtime.frame import Pixels
from otter_runtime.pipeline import PREFIX, Pipeline
from otter_runtime.rate import sane_hz

IMAGES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp", ".ppm", ".tif", ".tiff"})
HIGHEST_CAMERA = (1 << 31) - 1  # OpenCV counts cameras in a C int
# Of a stream's server, in milliseconds, before it is given up and opened again.
PATIENCE = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, 5000, cv2.CAP_PROP_READ_TIMEOUT_MSEC, 2000]


class Reader(Protocol):
    """One opened source. `live` ones have no end and set the pace themselves."""

    name: str
    live: bool
    rate_hz: float

    def pictures(self) -> Iterator[Pixels | None]:
        """RGB pictures (H, W, 3) in order; None for one that could not be decoded.

        A live source's may raise CameraLost, which says why there are no more.
        """

    def close(self) -> None:
        """Give the device or file back."""


class VideoFile:
    """A recorded video at its own rate."""

    live = False

    def __init__(self, path: Path) -> None:
        self.name = path.name
        self._capture = cv2.VideoCapture(str(path))
        # A file that opens and has no picture in it is no video either.
        first = next(_pictures(self._capture), None) if self._capture.isOpened() else None
        if first is None:
            self._capture.release()
            raise UserError(
                f"{path} is not a video that OpenCV can read; give a video file, a folder of "
                "images or a camera number"
            )
        self._first = first
        self.rate_hz = sane_hz(self._capture.get(cv2.CAP_PROP_FPS))

    def pictures(self) -> Iterator[Pixels | None]:
        """Every picture of the file; None for one of another size than the first."""
        shape = self._first.shape
        yield self._first
        for picture in _pictures(self._capture):
            yield picture if picture.shape == shape else None

    def close(self) -> None:
        """Give the file back."""
        self._capture.release()


class ImageFolder:
    """The images of a folder in the order of their names, or one image, at a rate of ours."""

    live = False

    def __init__(self, path: Path, rate_hz: float) -> None:
        self.name = path.name
        self.rate_hz = rate_hz
        files = sorted(path.iterdir()) if path.is_dir() else [path]
        self._files = [file for file in files if file.suffix.lower() in IMAGES]
        if not any(_read_image(file) is not None for file in self._files):
            raise UserError(
                f"{path} has no image that OpenCV can read; put .png or .jpg files into it or "
                "give a video file or a camera number"
            )

    def pictures(self) -> Iterator[Pixels | None]:
        """Every image; None for a file that is damaged."""
        return map(_read_image, self._files)

    def close(self) -> None:
        """Nothing stays open."""


class Camera:
    """A camera by its number, or a stream by its address (rtsp://, http://)."""

    live = True

    def __init__(self, address: int | str) -> None:
        self.name = f"camera {address}" if isinstance(address, int) else public(address)
        if isinstance(address, int) and address > HIGHEST_CAMERA:
            raise UserError(_no_camera(address))
        self._capture = (
            cv2.VideoCapture(address)
            if isinstance(address, int)
            else cv2.VideoCapture(address, cv2.CAP_ANY, PATIENCE)
        )
        if not self._capture.isOpened():
            raise UserError(_no_camera(address))
        # One buffered picture at most: a camera's queue is age that nobody sees.
        self._capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        self.rate_hz = sane_hz(self._capture.get(cv2.CAP_PROP_FPS))

    def pictures(self) -> Iterator[Pixels]:
        """Pictures as they come; ends when the camera stops giving any."""
        return _pictures(self._capture)

    def close(self) -> None:
        """Give the device back."""
        self._capture.release()


@dataclass(frozen=True)
class Spec:
    """What the user wrote for one source, checked but not opened."""

    text: str
    folder_hz: float = 1.0

    @property
    def live(self) -> bool:
        """Whether it is a camera or a stream, which has no end."""
        return self.text.isdecimal() or "://" in self.text or self.text.startswith(PREFIX)

    @property
    def name(self) -> str:
        """The text without a password."""
        return public(self.text)

    def open(self) -> Reader:
        """Open it; UserError where there is no such file or camera, or it holds no pictures."""
        if self.text.startswith(PREFIX):
            return Pipeline(self.text)
        if self.live:
            return Camera(int(self.text) if self.text.isdecimal() else self.text)
        path = Path(self.text)
        try:
            return self._recorded(path)
        except OSError as error:  # a name that is too long, a folder that is not ours to read
            raise UserError(
                f"{path} cannot be opened ({error.strerror}); give a video file, a folder of "
                "images or a camera number"
            ) from error

    def _recorded(self, path: Path) -> Reader:
        if not path.exists():
            raise UserError(
                f"there is no {path}; give a video file, a folder of images or a camera number"
            )
        if path.is_dir() or path.suffix.lower() in IMAGES:
            return ImageFolder(path, self.folder_hz)
        return VideoFile(path)


def specs(texts: Sequence[str], folder_hz: float) -> list[Spec]:
    """The sources that `texts` name, each opened once to see that it is there.

    Raises UserError for the first that is not, or where a camera is one of several: it would
    never end, so what follows would never come.
    """
    found = [Spec(text, folder_hz) for text in texts]
    for spec in found[:-1]:
        if spec.live:
            raise UserError(f"{spec.name} is a live source and has no end; give it last or alone")
    for spec in found:
        spec.open().close()
    return found


def _rgb(bgr: object) -> Pixels:
    picture = np.asarray(bgr)
    if picture.ndim == 2:
        return np.repeat(picture[:, :, None], 3, axis=2)
    return np.ascontiguousarray(picture[:, :, 2::-1])


def _pictures(capture: cv2.VideoCapture) -> Iterator[Pixels]:
    """What `capture` gives, until it gives no more."""
    while True:
        try:
            read, picture = capture.read()
        except cv2.error:  # damage that the decoder does not get over
            return
        if not read:
            return
        yield _rgb(picture)


def public(address: str) -> str:
    """An address without the user and password that it may carry: it is published and logged."""
    return re.sub(r"(?<=://)[^/\s]*@", "", address)


def _read_image(path: Path) -> Pixels | None:
    if not _whole(path):
        return None
    try:
        picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
    except cv2.error:  # a header that claims more pixels than OpenCV takes
        return None
    return None if picture is None else _rgb(picture)


def _whole(path: Path) -> bool:
    """Whether the file goes on to its picture's end: OpenCV fills a cut one up with grey."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # of a file that claims to be huge
            with Image.open(path) as image:
                image.load()
    # Pillow raises a dozen kinds (OSError, SyntaxError, struct.error ...) for hostile bytes.
    except Exception:
        return False
    return True


def _no_camera(address: int | str) -> str:
    if isinstance(address, str):
        return f"{public(address)} gives no stream; check the address, and that its server runs"
    if not Path(f"/dev/video{address}").exists():
        return (
            f"there is no camera {address} (/dev/video{address} is missing); plug one in, or give "
            "a video file or a folder of images"
        )
    return (
        f"camera {address} does not open; close the program that uses it, and see that you may "
        f"read /dev/video{address}"
    )
