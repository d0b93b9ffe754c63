"""Every source in its own layout: the releases' ids, exact rates, 224 x 224, on any runner."""

from __future__ import annotations

import http.server
import io
import json
import threading
from collections.abc import Iterator
from fractions import Fraction
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from otter_runtime.errors import UserError
from otter_tuning.commands import mimicit
from otter_tuning.mimicit.conversion import convert
from otter_tuning.mimicit.image_store import ImageStore
from otter_tuning.mimicit.llava_instruct import read_llava
from otter_tuning.mimicit.picture import make, video_frames
from otter_tuning.mimicit.sources import SOURCES, evenly

RATE = Fraction(30000, 1001)


def silent(what: str, done: int, total: int) -> None:
    """Progress that nobody watches."""


def picture(path: Path, shade: int = 90, size: tuple[int, int] = (40, 30)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (shade, 10, 200)).save(path)


def video(path: Path, seconds: float, rate: Fraction = RATE) -> None:
    """Frame k is a flat grey that tells k: its tens in the left half, its ones in the right."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fourcc = cv2.VideoWriter.fourcc(*"mp4v")
    writer = cv2.VideoWriter(str(path), fourcc, float(rate), (64, 64))
    for number in range(round(seconds * rate)):
        frame = np.zeros((64, 64, 3), np.uint8)
        for place, digit in enumerate((number // 100, number // 10 % 10, number % 10)):
            frame[:, place * 21 : place * 21 + 21] = 20 + 22 * digit
        writer.write(frame)
    writer.release()


def number_of(frame: np.ndarray) -> int:
    digits = [round((float(frame[20:40, x : x + 8].mean()) - 20) / 22) for x in (6, 27, 48)]
    return digits[0] * 100 + digits[1] * 10 + digits[2]


def made(source: str, root: Path, wanted: Path | None = None) -> tuple[list[str], list[str]]:
    """The ids that come of a source, and what is missing; every picture is a PNG of 224 x 224."""
    work = SOURCES[source](root, wanted)
    results = [make(task) for task in work.tasks]
    assert [one.failure for one in results] == [None] * len(results)
    for one in results:
        for _, data in one.pictures:
            image = Image.open(io.BytesIO(data))
            assert (image.size, image.mode, image.format) == ((224, 224), "RGB", "PNG")
    return [name for one in results for name, _ in one.pictures], work.missing


def test_llava(tmp_path: Path) -> None:
    for number in (33471, 42, 9):
        picture(tmp_path / "train2017" / f"{number:012d}.jpg")
    listed = tmp_path / "conversation_58k.json"
    records = [
        {"image": "000000033471.jpg"},
        {"image": "000000033471.jpg"},
        {"image": "000000000007.jpg"},
    ]
    listed.write_text(json.dumps(records))
    assert made("LA", tmp_path, listed) == (["LA_00_IMG_000000033471"], ["000000000007"])
    listed.write_text(json.dumps({"LACONV_00_INS_000000000042_3": [], "LA_IMG_000000000009": []}))
    assert made("LA", tmp_path, listed)[0] == ["LA_00_IMG_000000000042", "LA_00_IMG_000000000009"]
    assert len(made("LA", tmp_path)[0]) == 3
    listed.write_text('[{"image": "33471.jpg"}]')
    with pytest.raises(UserError, match="names no COCO picture"):
        made("LA", tmp_path, listed)


def test_spot_the_difference(tmp_path: Path) -> None:
    for name in ("2839.png", "2839_2.png", "2839_diff.jpg", "7.jpeg", "7_2.jpg", "11.png"):
        picture(tmp_path / name)
    names, missing = made("SD", tmp_path)
    assert names == ["SD_IMG_02839_1", "SD_IMG_02839_2", "SD_IMG_00007_1", "SD_IMG_00007_2"]
    assert missing == ["11_2"]


def test_coco_general_difference(tmp_path: Path) -> None:
    picture(tmp_path / "train2017" / "000000069568.jpg")
    assert made("CGD", tmp_path)[0] == ["CGD_IMG_000000069568"]


def test_scene_navigation(tmp_path: Path) -> None:
    for name in ("scene0000_00/color/000000.jpg", "scene0000_00/color/000100.jpg"):
        picture(tmp_path / name)
    picture(tmp_path / "scene0000_01/color/000000.jpg")
    (tmp_path / "scene0001_00").mkdir()
    names, missing = made("SN", tmp_path)
    assert names == ["SN_IMG_scene0000_00_color_000000", "SN_IMG_scene0000_00_color_000100"]
    assert missing == ["scene0001_00/color"]


@pytest.fixture
def flickr(tmp_path: Path) -> Iterator[str]:
    """A server with one picture; every other address has expired."""
    picture(tmp_path / "flickr" / "55.jpg")
    handler = partial(Quiet, directory=str(tmp_path / "flickr"))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        return None


def test_visual_storytelling(tmp_path: Path, flickr: str) -> None:
    picture(tmp_path / "vist" / "44.jpg")
    images = [
        {"id": "44", "url_o": f"{flickr}/44.jpg"},
        {"id": "55", "url_m": f"{flickr}/55.jpg"},
        {"id": "66", "url_o": f"{flickr}/66.jpg"},
        {"id": "77"},
    ]
    listed = tmp_path / "vist" / "train.story-in-sequence.json"
    listed.write_text(json.dumps({"images": images}))
    work = SOURCES["VST"](tmp_path / "vist", None)
    results = [make(task) for task in work.tasks]
    assert [name for one in results for name, _ in one.pictures] == ["VST_IMG_44", "VST_IMG_55"]
    assert "404" in str(results[2].failure)
    assert work.missing == ["77"]
    listed.write_text('{"images": [{}]}')
    with pytest.raises(UserError, match='should have "images"'):
        SOURCES["VST"](tmp_path / "vist", None)


def test_dense_captions_and_ego4d(tmp_path: Path) -> None:
    video(tmp_path / "dc" / "v_AB-cd_1.mp4", 3.2)
    names, _ = made("DC", tmp_path / "dc")
    assert names == [f"DC_IMG_v_AB-cd_1_{second:04d}" for second in range(4)]
    video(tmp_path / "e4d" / "0a1b-22.mp4", 1.5, Fraction(30))
    assert made("E4D", tmp_path / "e4d")[0] == [
        "E4D_IMG_0a1b-22_00000000",
        "E4D_IMG_0a1b-22_00000001",
    ]
    (tmp_path / "none").mkdir()
    assert SOURCES["DC"](tmp_path / "none", None).missing == [f"{tmp_path / 'none'}/*.mp4"]


def test_tv_captions(tmp_path: Path) -> None:
    for number in range(1, 32):  # 31: the public converter takes all of them
        picture(tmp_path / "castle_frames" / "castle_s07e09_seg02_clip_02" / f"{number:05d}.jpg")
    for number in range(1, 4):
        picture(tmp_path / "bbt_frames" / "s04e13_seg01_clip_00" / f"{number:05d}.jpg")
    names, _ = made("TVC", tmp_path)
    assert names[:3] == [f"TVC_IMG_bbt_s04e13_seg01_clip_00_{n:05d}" for n in (1, 2, 3)]
    assert len(names[3:]) == 16
    assert names[3] == "TVC_IMG_castle_s07e09_seg02_clip_02_00001"
    assert names[-1] == "TVC_IMG_castle_s07e09_seg02_clip_02_00031"
    steps = np.diff(evenly(list(range(31)), 16))
    assert set(steps) <= {1, 2, 3}


def test_a_broadcast_rate_is_exact(tmp_path: Path) -> None:
    """At 29.97 fps the frame at second 33 is 989, not 33 times 29 = 957."""
    video(tmp_path / "x.mp4", 33.5)
    shown = [number_of(frame) for frame in video_frames(tmp_path / "x.mp4", 1)]
    assert shown == [int(second * RATE) for second in range(34)]
    assert shown[33] == 989
    assert len(list(video_frames(tmp_path / "x.mp4", 4))) == 135


def test_a_slow_video_repeats_its_frames(tmp_path: Path) -> None:
    video(tmp_path / "x.mp4", 4, Fraction(2))
    shown = [number_of(frame) for frame in video_frames(tmp_path / "x.mp4", 4)]
    assert shown == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7]


@pytest.mark.parametrize("workers", [1, 2])
def test_a_run_that_was_ended_goes_on(workers: int, tmp_path: Path) -> None:
    for number in range(6):
        picture(tmp_path / "train2017" / f"{number:012d}.jpg", number)
    (tmp_path / "train2017" / "000000000003.jpg").write_bytes(b"\xff\xd8 cut short")
    tasks = SOURCES["CGD"](tmp_path, None).tasks
    with ImageStore(tmp_path / "x.sqlite") as store:
        first = convert(tasks[:2], store, silent, 1)
        assert (first.pictures, first.failures) == (2, [])
        rest = convert(tasks, store, silent, workers)
        assert (rest.done_before, rest.pictures) == (2, 3)
        assert [Path(path).name for path, _ in rest.failures] == ["000000000003.jpg"]
        assert list(store) == [f"CGD_IMG_{n:012d}" for n in (0, 1, 2, 4, 5)]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # Ray's own
def test_ray_makes_the_same(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    for number in range(5):
        picture(tmp_path / "train2017" / f"{number:012d}.jpg", number)
    tasks = SOURCES["CGD"](tmp_path, None).tasks
    with ImageStore(tmp_path / "a.sqlite") as one, ImageStore(tmp_path / "b.sqlite") as other:
        convert(tasks, one, silent, 1)
        convert(tasks, other, silent, ray=True)
        assert {name: one[name] for name in one} == {name: other[name] for name in other}


def test_llava_instruct_is_read_as_la(tmp_path: Path) -> None:
    record = {
        "id": "000000033471",
        "image": "000000033471.jpg",
        "conversations": [
            {"from": "human", "value": "<image>\nWhat colour is the bus?"},
            {"from": "gpt", "value": "White and red."},
            {"from": "human", "value": "And the road?"},
            {"from": "gpt", "value": "Grey."},
        ],
    }
    path = tmp_path / "x.json"
    path.write_text(json.dumps([record, record]))
    turns = read_llava(path, "conversation")
    assert list(turns.data) == [f"LACONV_00_INS_000000033471_{turn}" for turn in range(4)]
    second = turns["LACONV_00_INS_000000033471_1"]
    assert (second.instruction, second.answer) == ("And the road?", "Grey.")
    assert second.rel_ins_ids == ("LACONV_00_INS_000000033471_0",)
    assert turns["LACONV_00_INS_000000033471_0"].instruction == "What colour is the bus?"
    assert turns["LACONV_00_INS_000000033471_2"].rel_ins_ids == ()
    record["conversations"] = record["conversations"][:2]
    path.write_text(json.dumps([record, record]))
    assert list(read_llava(path, "detail").data) == [
        "LADD_00_INS_000000033471",
        "LADD_00_INS_000000033471_0",
    ]
    assert next(iter(read_llava(path, "reasoning").data)) == "LACR_T2T_00_INS_000000033471"
    record["conversations"] = record["conversations"][:1]
    path.write_text(json.dumps([record]))
    with pytest.raises(UserError, match="should alternate human and gpt"):
        read_llava(path, "detail")


def test_the_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def call(*words: object) -> int:
        parser = __import__("argparse").ArgumentParser()
        mimicit.add_arguments(parser)
        return mimicit.run(parser.parse_args([str(word) for word in words]))

    picture(tmp_path / "sd" / "1.png")
    picture(tmp_path / "sd" / "1_2.png")
    store = tmp_path / "SD.sqlite"
    assert call("convert", "SD", tmp_path / "sd", "-o", store, "--workers", 1, "--json") == 0
    assert json.loads(capsys.readouterr().out)["pictures"] == 2
    assert call("convert", "SD", tmp_path / "sd", "-o", store, "--workers", 1) == 0
    assert "2 files were done before" in capsys.readouterr().out
    picture(tmp_path / "sd" / "9.png")
    assert call("convert", "SD", tmp_path / "sd", "-o", store, "--workers", 1) == 1
    assert "missing: 9_2" in capsys.readouterr().out
    with pytest.raises(UserError, match=r"should end in \.sqlite"):
        call("convert", "SD", tmp_path / "sd", "-o", tmp_path / "x.txt")
    with pytest.raises(UserError, match="did you mean E4D"):
        call("convert", "E4", tmp_path, "-o", store)
    with pytest.raises(UserError, match="is no folder"):
        call("convert", "DC", tmp_path / "nothing", "-o", store)
    turns = [{"from": "human", "value": "What?"}, {"from": "gpt", "value": "That."}]
    given = tmp_path / "detail_23k.json"
    given.write_text(json.dumps([{"image": "000000000001.jpg", "conversations": turns}]))
    assert call("llava", given, "--kind", "detail", "-o", tmp_path / "LA_instructions.json") == 0
    assert "1 pairs" in capsys.readouterr().out
