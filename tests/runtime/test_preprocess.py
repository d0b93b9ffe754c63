"""Preprocessing against the reference's CLIPImageProcessor, written out plainly with Pillow."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from otter_runtime.bundle import Preprocess
from otter_runtime.errors import UserError
from otter_runtime.preprocess import Preprocessor

MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)
SIZES = [
    *[(224, 224), (640, 480), (480, 640), (1280, 720), (1921, 1080), (223, 225), (225, 223)],
    *[(300, 224), (224, 999), (37, 41), (1, 1), (3, 500), (500, 3), (641, 479), (63, 64)],
    *[(333, 333), (848, 480), (101, 404), (720, 1280), (447, 448)],
]


def reference(image: Image.Image, size: int) -> NDArray[np.float64]:
    """resize shortest edge (bicubic), centre crop, rescale, normalise: (3, size, size)."""
    width, height = image.size
    if width <= height:
        image = image.resize((size, int(size * height / width)), Image.Resampling.BICUBIC)
    else:
        image = image.resize((int(size * width / height), size), Image.Resampling.BICUBIC)
    left, top = (image.size[0] - size) // 2, (image.size[1] - size) // 2
    image = image.crop((left, top, left + size, top + size))
    scaled = np.asarray(image).astype(np.float64) / 255
    return ((scaled - MEAN) / STD).transpose(2, 0, 1)


def picture(width: int, height: int, seed: int) -> NDArray[np.uint8]:
    """Smooth colours with noise on top, so that antialiasing matters."""
    rng = np.random.default_rng(seed)
    ramp = np.linspace(0, 200, width)[None, :, None] * rng.random(3)
    noise = rng.integers(0, 56, (height, width, 3))
    return (ramp + noise).astype(np.uint8)


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_equals_the_reference(width: int, height: int) -> None:
    rgb = picture(width, height, width * height)
    pixels = Preprocessor(Preprocess(size=224))(rgb)
    expected = reference(Image.fromarray(rgb), 224)
    assert pixels.shape == (3, 224, 224)
    assert pixels.dtype == np.float32
    # 1/255 of a pixel, in normalised units of the channel with the smallest deviation.
    assert np.abs((pixels - expected) * np.array(STD)[:, None, None]).max() < 1 / 255


def test_an_all_black_picture_becomes_zeros() -> None:
    pixels = Preprocessor(Preprocess(size=32))(np.zeros((48, 64, 3), np.uint8))
    assert not pixels.any()


def test_one_bright_pixel_is_not_black() -> None:
    rgb = np.zeros((32, 32, 3), np.uint8)
    rgb[4, 5, 0] = 255
    assert Preprocessor(Preprocess(size=32))(rgb).min() < -1


def test_squash_keeps_what_a_crop_loses() -> None:
    rgb = np.full((90, 160, 3), 128, np.uint8)
    rgb[:, :30] = 255  # a strip at the left edge, outside the centre square
    crop = Preprocessor(Preprocess(size=32))(rgb)
    squash = Preprocessor(Preprocess(size=32, mode="squash"))(rgb)
    assert np.ptp(crop) < 0.5 < np.ptp(squash)


@pytest.mark.parametrize("shape", [(4, 4), (4, 4, 4), (0, 4, 3)])
def test_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(UserError, match="height, width, 3"):
        Preprocessor(Preprocess(size=32))(np.ones(shape, np.uint8))


def test_an_unknown_mode_is_refused() -> None:
    with pytest.raises(UserError, match="'crop' or 'squash'"):
        Preprocessor(Preprocess(size=32, mode="stretch"))


def test_a_square_stands_for_its_pixels() -> None:
    """What is hashed in the place of the pixels: equal squares, equal pixels, and only those."""
    preprocess = Preprocessor(Preprocess(size=32))
    wide = np.random.default_rng(0).integers(1, 255, (48, 90, 3), dtype=np.uint8)
    square = preprocess.square(wide)
    assert square.shape == (32, 32, 3)
    assert square.data.contiguous
    assert np.array_equal(preprocess.normalised(square), preprocess(wide))
    black, edge = np.zeros_like(wide), np.zeros_like(wide)
    edge[:, 0] = 255  # falls to the crop
    assert not preprocess.square(edge).any()
    assert preprocess.square(black).shape != preprocess.square(edge).shape
    assert not preprocess(black).any()
    assert preprocess(edge).any()
