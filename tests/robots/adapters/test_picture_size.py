"""Sizes of pictures from their headers, against files that OpenCV wrote."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from otter_robots.adapters.picture_size import picture_size


@pytest.mark.parametrize(("width", "height"), [(1, 1), (64, 48), (640, 480), (1919, 3)])
@pytest.mark.parametrize("encoding", ["jpeg", "png"])
def test_it_is_what_was_written(encoding: str, width: int, height: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    data = cv2.imencode(f".{encoding}", pixels)[1].tobytes()
    assert picture_size(data) == (encoding, width, height)
    # Cut anywhere it is the same or none, never another and never an error.
    found = {picture_size(data[:length]) for length in range(min(len(data), 2000))}
    assert found <= {None, (encoding, width, height)}


def test_progressive_jpeg_too() -> None:
    data = cv2.imencode(".jpg", np.zeros((40, 30, 3), np.uint8), [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])
    assert picture_size(data[1].tobytes()) == ("jpeg", 30, 40)


@pytest.mark.parametrize("data", [b"", b"\xff", b"\xff\xd8", b"GIF89a", b"\x89PNG\r\n\x1a\n" * 3])
def test_rubbish_has_no_size(data: bytes) -> None:
    assert picture_size(data) is None


def test_random_bytes_do_no_harm() -> None:
    random = np.random.default_rng(1)
    for _ in range(2000):
        data = b"\xff\xd8" + random.integers(0, 256, random.integers(0, 60), np.uint8).tobytes()
        picture_size(data.replace(b"\x00", b"\xff"))
