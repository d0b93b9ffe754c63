"""Sources and the thread that drains them, on real files."""

from __future__ import annotations

import struct
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from otter_runtime import drain as drain_module
from otter_runtime.drain import Drain
from otter_runtime.errors import UserError
from otter_runtime.frame import Frame, Pixels
from otter_runtime.gate import Gate, Verdict
from otter_runtime.sources import Spec, specs


def played(drain: Drain, limit_s: float = 10.0) -> Iterator[Frame]:
    """Frames as a prompt reader takes them, until the end."""
    drain.start()
    until_s = time.monotonic() + limit_s
    while not drain.ended and time.monotonic() < until_s:
        frame = drain.take()
        if frame is None:
            time.sleep(0.001)
        else:
            yield frame
    drain.close()


def test_fast_hands_out_every_frame_of_every_clip(video: Callable[..., Path]) -> None:
    clips = [video("one.avi", 8), video("two.avi", 5)]
    frames = list(played(Drain(specs([str(clip) for clip in clips], 1.0), fast=True)))
    stamps = [frame.stamp for frame in frames]
    assert [stamp.id for stamp in stamps] == list(range(13))
    assert [(stamp.scene, stamp.index) for stamp in stamps] == [
        *((0, index) for index in range(8)),
        *((1, index) for index in range(5)),
    ]
    assert [stamp.source for stamp in stamps[7:9]] == ["one.avi", "two.avi"]
    assert stamps[3].stream_ns == 750_000_000
    levels = [int(frame.pixels.mean()) for frame in frames[:8]]
    assert np.allclose(levels, [40 + 5 * index for index in range(8)], atol=2)


def test_pictures_are_rgb(tmp_path: Path) -> None:
    red_in_bgr = np.zeros((8, 8, 3), np.uint8)
    red_in_bgr[..., 2] = 255
    cv2.imwrite(str(tmp_path / "red.png"), red_in_bgr)
    (frame,) = played(Drain(specs([str(tmp_path)], 1.0), fast=True))
    assert frame.pixels[0, 0].tolist() == [255, 0, 0]


def test_real_time_keeps_the_pace_of_the_file(video: Callable[..., Path]) -> None:
    clip = video(frames=5, rate_hz=20.0)
    stamps = [frame.stamp for frame in played(Drain(specs([str(clip)], 1.0)))]
    begun = stamps[0].mono_ns
    for stamp in stamps:
        assert stamp.mono_ns - begun >= stamp.stream_ns - 1_000_000
    assert (stamps[-1].mono_ns - begun) / 1e9 < 2.0


def test_speed_plays_faster(video: Callable[..., Path]) -> None:
    clip = video(frames=8, rate_hz=4.0)  # 2 s of video
    begun_s = time.monotonic()
    assert len(list(played(Drain(specs([str(clip)], 1.0), speed=20.0)))) >= 4
    assert time.monotonic() - begun_s < 1.5


def test_a_slow_reader_gets_the_newest_and_the_rest_is_counted(video: Callable[..., Path]) -> None:
    drain = Drain(specs([str(video(frames=10, rate_hz=100.0))], 1.0))
    drain.start()
    time.sleep(0.6)
    frame = drain.take()
    assert frame is not None
    assert frame.stamp.index == 9
    assert drain.dropped == 9
    assert drain.ended
    drain.close()


def test_a_folder_of_images_plays_in_order_and_counts_damage(tmp_path: Path) -> None:
    for index in (2, 0, 1):
        cv2.imwrite(str(tmp_path / f"{index}.png"), np.full((8, 8, 3), 50 + index, np.uint8))
    (tmp_path / "3.png").write_bytes(b"no picture")
    (tmp_path / "notes.txt").write_text("not an image")
    drain = Drain(specs([str(tmp_path)], 2.0), fast=True)
    assert [int(frame.pixels[0, 0, 0]) for frame in played(drain)] == [50, 51, 52]
    assert drain.damaged == 1


@pytest.mark.parametrize("kind", [".jpg", ".png", ".webp"])
def test_a_picture_that_was_cut_off_is_none(tmp_path: Path, kind: str) -> None:
    random = np.random.default_rng(2)
    for name, share in (("a", 1.0), ("b", 0.9), ("c", 0.4), ("d", 1.0)):
        coded = cv2.imencode(kind, random.integers(0, 255, (64, 64, 3), np.uint8))[1].tobytes()
        (tmp_path / f"{name}{kind}").write_bytes(coded[: round(len(coded) * share)])
    drain = Drain(specs([str(tmp_path)], 2.0), fast=True)
    assert [frame.stamp.index for frame in played(drain)] == [0, 3]
    assert drain.damaged == 2


class Live:
    """A camera that gives these pictures, as fast as they are taken, and then no more."""

    name, live, rate_hz = "camera", True, 10.0

    def __init__(self, *pictures: Pixels) -> None:
        self._pictures = pictures

    def pictures(self) -> Iterator[Pixels]:
        for picture in self._pictures:
            yield picture
            time.sleep(0.05)

    def close(self) -> None:
        pass


def live(monkeypatch: pytest.MonkeyPatch, *readers: Live, latency_ms: float = 0.0) -> Drain:
    """A drain whose camera is each of `readers` in turn."""
    opened = iter(readers)
    monkeypatch.setattr(Spec, "open", lambda self: next(opened))
    monkeypatch.setattr(drain_module, "REOPEN_S", (0.05,))
    return Drain([Spec("0")], latency_ms=latency_ms)


def test_pictures_of_another_size_are_another_scene(monkeypatch: pytest.MonkeyPatch) -> None:
    wide, tall = np.full((8, 16, 3), 90, np.uint8), np.full((16, 8, 3), 90, np.uint8)
    drain = live(monkeypatch, Live(wide, wide, tall, wide), Live(*[tall] * 100))
    shapes: list[tuple[int, tuple[int, ...]]] = []
    for frame in played(drain):
        shapes.append((frame.stamp.scene, frame.pixels.shape))
        if frame.stamp.scene == 1:
            break
    assert set(shapes) == {(0, wide.shape), (1, tall.shape)}
    assert drain.damaged == 1
    assert drain.trouble == ""
    drain.close()


def test_trouble_is_over_with_the_first_frame_and_not_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    picture = np.full((8, 8, 3), 90, np.uint8)
    drain = live(monkeypatch, Live(picture), Live(), Live(*[picture] * 200))
    drain.start()
    until_s = time.monotonic() + 10
    while len(drain.scenes) < 3 and time.monotonic() < until_s:
        time.sleep(0.01)
    assert drain.trouble == "camera stopped giving frames"
    frame = None
    while frame is None or frame.stamp.scene < 2:
        frame = drain.take() or frame
        assert time.monotonic() < until_s
    assert drain.trouble == ""
    drain.close()


def test_a_declared_latency_is_age(monkeypatch: pytest.MonkeyPatch) -> None:
    picture = np.full((8, 8, 3), 90, np.uint8)
    drain = live(monkeypatch, Live(*[picture] * 100), latency_ms=700)
    stamp = next(played(drain)).stamp
    assert time.monotonic_ns() - stamp.mono_ns >= 700_000_000
    assert time.time_ns() - stamp.wall_ns >= 700_000_000
    drain.close()


def test_a_recording_has_no_latency(video: Callable[..., Path]) -> None:
    before_ns = time.monotonic_ns()
    drain = Drain(specs([str(video())], 1.0), fast=True, latency_ms=700)
    assert next(played(drain)).stamp.mono_ns >= before_ns
    drain.close()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("missing.mp4", "there is no"),
        ("notes.txt", "not a video"),
        ("broken.mp4", "not a video"),
        ("empty", "no image"),
        ("bomb.png", "no image"),
        ("x" * 5000, "cannot be opened"),
        ("77", "no camera 77"),
        ("9" * 30, "no camera 9"),
    ],
)
def test_what_is_no_source_is_said_in_a_sentence(tmp_path: Path, text: str, says: str) -> None:
    header = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    chunks = [chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(b"x")), chunk(b"IEND", b"")]
    (tmp_path / "bomb.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / "broken.mp4").write_bytes(b"\x00\x00\x00\x18ftypmp42" + b"x" * 400)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=says):
        specs([text if text.isdecimal() else str(tmp_path / text)], 1.0)


def chunk(kind: bytes, data: bytes) -> bytes:
    """A chunk of a PNG file."""
    check = struct.pack(">I", zlib.crc32(kind + data))
    return struct.pack(">I", len(data)) + kind + data + check


def test_nothing_follows_a_live_source(video: Callable[..., Path]) -> None:
    with pytest.raises(UserError, match="give it last"):
        specs(["0", str(video())], 1.0)


def test_a_lost_stream_is_told_and_tried_again(tmp_path: Path) -> None:
    drain = Drain([Spec(f"file://{tmp_path}/gone.mp4")])
    assert drain.live
    drain.start()
    until_s = time.monotonic() + 5
    while not drain.trouble and time.monotonic() < until_s:
        time.sleep(0.01)
    assert "gives no stream" in drain.trouble
    assert not drain.ended
    drain.close()


def test_the_gate_refuses_black_and_stuck(frame: Callable[..., Frame]) -> None:
    live, recorded = Gate(live=True), Gate(live=False)
    same = [frame(number, seed=1) for number in range(6)]  # 250 ms apart
    assert [live.judge(one) for one in same] == [Verdict.FINE] * 4 + [Verdict.STUCK] * 2
    assert {recorded.judge(one) for one in same} == {Verdict.FINE}
    assert live.judge(frame(9)) is Verdict.FINE
    black = frame(10)
    black.pixels[:] = 5
    assert live.judge(black) is recorded.judge(black) is Verdict.BLACK
    black.pixels[3, 3] = 90  # one bright pixel, off the sampled grid
    assert recorded.judge(black) is Verdict.FINE
