"""Pictures in a trial: the very pixels, and messages that others read by the schema beside them."""

from __future__ import annotations

import io

import msgspec
import numpy as np
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from otter_robots.messages import Picture
from otter_runtime.errors import TrialError
from otter_runtime.frame import Frame, Stamp
from otter_runtime.pushed import Pushed
from otter_runtime.trials import foxglove, picture, png
from otter_runtime.trials.channels import Show
from otter_runtime.trials.trial import Record, Sight

STAMP = Stamp(
    id=7, scene=0, source="camera 0", index=7, stream_ns=0, mono_ns=1, wall_ns=5_000_000_007
)


def noise(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 1000))
def test_png_gives_the_same_pixels_back_to_any_reader(height: int, width: int, seed: int) -> None:
    pixels = noise(height, width, seed)
    with Image.open(io.BytesIO(png.encode(pixels))) as image:
        image.verify()
    assert np.array_equal(picture.decode(png.encode(pixels)), pixels)


def test_a_frame_that_came_as_a_file_stays_that_file() -> None:
    seen = picture.through_jpeg(Frame(STAMP, noise(24, 32)))
    assert picture.encode(seen) == ("jpeg", seen.file)
    assert np.array_equal(picture.decode(seen.file), seen.pixels)


def test_any_other_frame_is_a_png_of_its_very_pixels() -> None:
    pixels = noise(24, 32)
    encoding, file = picture.encode(Frame(STAMP, pixels))
    assert encoding == "png"
    assert np.array_equal(picture.decode(file), pixels)


def test_protobuf_reads_the_message_by_the_embedded_schema() -> None:
    pool = descriptor_pool.DescriptorPool()
    for file in descriptor_pb2.FileDescriptorSet.FromString(foxglove.SCHEMA).file:
        pool.Add(file)
    kind = message_factory.GetMessageClass(pool.FindMessageTypeByName(foxglove.NAME))
    packed = foxglove.pack(STAMP.wall_ns, STAMP.source, b"\xff\xd8file", "jpeg")
    read = kind.FromString(packed)
    assert (read.timestamp.seconds, read.timestamp.nanos) == (5, 7)
    assert (read.frame_id, read.data, read.format) == ("camera 0", b"\xff\xd8file", "jpeg")
    assert foxglove.picture(packed) == b"\xff\xd8file"


@pytest.mark.parametrize("cut", [0, 1, 5, 20])
def test_a_torn_message_is_refused(cut: int) -> None:
    with pytest.raises(TrialError, match="no foxglove"):
        foxglove.picture(foxglove.pack(1, "camera", bytes(300), "png")[:cut])


def sight(digest: str, file: bytes) -> Sight:
    show = Show(stamp=STAMP, height=8, width=8, encoding="png", digest=digest)
    return Sight(Record(1, "/order/show", 0, 0, msgspec.json.encode(show)), show, file)


def test_pixels_that_are_not_those_that_were_seen_are_refused() -> None:
    pixels = noise(8, 8)
    good = sight(picture.digest(pixels), png.encode(pixels))
    assert np.array_equal(good.frame().pixels, pixels)
    with pytest.raises(TrialError, match="other pixels"):
        sight(picture.digest(pixels), png.encode(noise(8, 8, seed=1))).frame()
    with pytest.raises(TrialError, match="was not recorded"):
        sight("", b"").frame()
    with pytest.raises(TrialError, match="cannot be decoded"):
        sight(picture.digest(pixels), b"no picture").frame()


def test_a_pushed_file_is_kept_as_it_came() -> None:
    file = picture.through_jpeg(Frame(STAMP, noise(24, 32))).file
    source = Pushed()
    source.push(b"robot", Picture(number=0, width=32, height=24, encoding="jpeg", taken_ns=1), file)
    frame = source.take()
    assert frame is not None
    assert picture.encode(frame) == ("jpeg", file)
    rows = noise(24, 32)
    told = Picture(number=1, width=32, height=24, encoding="rgb8", taken_ns=2)
    source.push(b"robot", told, rows.tobytes())
    frame = source.take()
    assert frame is not None
    assert np.array_equal(picture.decode(picture.encode(frame)[1]), rows)
