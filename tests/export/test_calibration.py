"""Calibration data as people have it: folders of clips with prompts, and MIMIC-IT."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from otter_export.calibration import Calibration
from otter_export.clips import read_clips
from otter_export.json_members import PIECE, members
from otter_export.mimicit import read_mimicit
from otter_export.sample import Sample, samples_sha256
from otter_export.settings import Settings
from otter_export.shown import Shown, spread
from otter_model.checkpoint import Checkpoint, open_checkpoint
from otter_model.tiny import tiny_checkpoint
from otter_runtime.bundle import WindowDefaults
from otter_runtime.errors import UserError

ROOT = Path(__file__).parents[2]
CLIPS = ROOT / "runtime" / "otter_runtime" / "pocket" / "clip"
SETTINGS = Settings(window=WindowDefaults(frames=4, rate_hz=2.0))


@pytest.fixture(scope="module")
def pocket() -> Checkpoint:
    return open_checkpoint(ROOT / "tuning" / "pocket" / "checkpoint")


def read(path: Path, checkpoint: Checkpoint, **options: Any) -> list[Sample]:
    return Calibration(path, **options).read(checkpoint, SETTINGS)


def text(checkpoint: Checkpoint, sample: Sample) -> str:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(checkpoint.tokenizer))
    decoded: str = tokenizer.decode(sample.ids, skip_special_tokens=False)
    return decoded


def test_clips_are_asked_what_is_given(pocket: Checkpoint) -> None:
    samples = read(CLIPS, pocket, prompts=("Can you see the red box?",), limit=6)
    assert len(samples) == 6
    assert {sample.pixels.shape for sample in samples} == {(4, 3, 64, 64)}
    assert len({sample.pixels.tobytes() for sample in samples}) == 6
    assert {text(pocket, s).removeprefix("<image>") for s in samples} == {
        "User: Can you see the red box? GPT:<answer>"
    }
    assert all(set(sample.media_index) == {1} for sample in samples)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two images and a subfolder of three, all of one colour each."""
    for at, name in enumerate(["a.png", "b.png", "c/0.png", "c/1.png", "c/2.png"]):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        cv2.imwrite(str(tmp_path / name), np.full((8, 8, 3), 10 * at, np.uint8))
    return tmp_path


PROMPTS = {
    "prompts.json": json.dumps(["Go?", {"question": "What?", "answer": "A.", "clip": "b.png"}]),
    "prompts.yaml": "- Go?\n- {question: What?, answer: A., clip: b.png}\n",
}


def windows(folder: Path, limit: int, prompts: tuple[str, ...] = ()) -> list[Shown]:
    return list(read_clips(folder, prompts, frames=2, rate_hz=1.0, limit=limit))


@pytest.mark.parametrize("name", sorted(PROMPTS))
def test_prompts_lie_beside_the_clips(folder: Path, name: str) -> None:
    (folder / name).write_text(PROMPTS[name])
    shown = windows(folder, 3)
    assert [(s.question, s.answer) for s in shown] == [
        ("Go?", None),
        ("What?", "A."),
        ("Go?", None),
    ]
    assert [len(s.frames) for s in shown] == [1, 1, 2]


def test_a_line_of_text_is_a_question_and_its_answer(folder: Path) -> None:
    (folder / "prompts.txt").write_text("Where?\tThere.\n\nWhy?\n")
    shown = windows(folder, 6)
    assert {(s.question, s.answer) for s in shown} == {("Where?", "There."), ("Why?", None)}
    # Windows of a clip are spread over it and differ.
    last = [tuple(int(frame[0, 0, 0]) for frame in s.frames) for s in shown if len(s.frames) == 2]
    assert last == [(20, 30), (30, 40)]


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({}, "holds no videos or images"),
        ({"a.png": ""}, "nothing to ask"),
        ({"a.png": "", "prompts.txt": "\n"}, "asks nothing"),
        ({"a.png": "", "prompts.json": "[{"}, "should be a list of questions"),
        ({"a.png": "", "prompts.yaml": "- {ask: what}"}, "unknown field `ask`"),
        ({"a.png": "", "prompts.txt": "Go?"}, "no image that OpenCV can read"),
        ({"a.png": "", "prompts.yaml": "- {question: Q, clip: b}"}, "clip 'b', which .* has not"),
    ],
)
def test_what_cannot_be_asked_is_one_sentence(
    tmp_path: Path, files: dict[str, str], said: str
) -> None:
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    with pytest.raises(UserError, match=said):
        windows(tmp_path, 2)


def test_what_belongs_to_another_kind_is_refused(
    folder: Path, mimicit: Path, pocket: Checkpoint
) -> None:
    with pytest.raises(UserError, match="--images is for mimic-it"):
        read(folder, pocket, prompts=("Go?",), images=mimicit)
    with pytest.raises(UserError, match="--prompt is for clips"):
        read(mimicit, pocket, prompts=("Go?",))


def test_texts_need_a_tokenizer(folder: Path) -> None:
    with pytest.raises(UserError, match="give --tokenizer"):
        read(folder, tiny_checkpoint("mpt"), prompts=("Go?",))


def test_frames_are_spread_to_the_windows_length() -> None:
    assert spread(8, 4) == [1, 3, 5, 7]
    assert spread(2, 4) == [0, 0, 1, 1]
    assert spread(4, 4) == [0, 1, 2, 3]


def picture(value: int) -> str:
    _, data = cv2.imencode(".png", np.full((6, 6, 3), value, np.uint8))
    return base64.b64encode(data.tobytes()).decode()


PICTURES = {f"X_IMG_{i}": picture(40 * i) for i in range(4)}


def record(answer: str, *pictures: str) -> dict[str, Any]:
    asked = {"instruction": "What next?", "answer": answer}
    return {**asked, "image_ids": list(pictures), "rel_ins_ids": []}


@pytest.fixture
def mimicit(tmp_path: Path) -> Path:
    records = {
        "X_INS_0": record("a", "X_IMG_0", "X_IMG_1"),
        "X_INS_1": record("b", "X_IMG_1"),  # a later turn about a picture that was shown
        "X_INS_2": {"instruction": "Text only", "answer": "c"},
        "X_INS_3": record("d", "X_IMG_3"),
    }
    path = tmp_path / "X_instructions.json"
    path.write_text(json.dumps({"meta": {"version": "0.1"}, "data": records}, indent=1))
    return path


def test_mimicit_in_json_and_parquet_are_the_same(mimicit: Path, pocket: Checkpoint) -> None:
    (mimicit.parent / "X.json").write_text(json.dumps(PICTURES))
    samples = read(mimicit, pocket)
    assert [text(pocket, s).rpartition("<answer>")[2] for s in samples] == [
        " a<|endofchunk|>",
        " d<|endofchunk|>",
    ]
    assert samples[0].pixels.shape == (4, 3, 64, 64)
    # Two pictures in a window of four: each of them twice.
    np.testing.assert_array_equal(samples[0].pixels[0], samples[0].pixels[1])
    assert (samples[0].pixels[0] != samples[0].pixels[3]).any()
    table = pyarrow.table({"base64": list(PICTURES.values()), "image_id": list(PICTURES)})
    pyarrow.parquet.write_table(table, mimicit.parent / "other.parquet")
    again = read(mimicit, pocket, images=mimicit.parent / "other.parquet")
    assert samples_sha256(samples) == samples_sha256(again)


def test_only_so_many_are_read(mimicit: Path) -> None:
    (mimicit.parent / "X.json").write_text(json.dumps(PICTURES))
    assert [shown.answer for shown in read_mimicit(mimicit, None, 1)] == ["a"]


@pytest.mark.parametrize(
    ("pictures", "said"),
    [
        (None, r"no X\.parquet or X\.json"),
        ({"X_IMG_0": ""}, "lacks X_IMG_1 and 1 more"),
        ({**PICTURES, "X_IMG_3": "no picture"}, "X_IMG_3 is not base64 of an image"),
        ("[]", "not an images file of MIMIC-IT"),
    ],
)
def test_pictures_that_are_not_there_are_named(mimicit: Path, pictures: Any, said: str) -> None:
    if pictures is not None:
        content = pictures if isinstance(pictures, str) else json.dumps(pictures)
        (mimicit.parent / "X.json").write_text(content)
    with pytest.raises(UserError, match=said):
        list(read_mimicit(mimicit, None, 9))


ODD = '{"data": {"a": {"instruction": "b", "answer": "c", "image_ids": [["d"]]}}}'


@pytest.mark.parametrize(
    "content", ["", "[1]", '{"meta": {}}', '{"data": {"a": 1}}', '{"data": {', ODD]
)
def test_what_is_not_mimicit_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "x.json").write_text(content)
    with pytest.raises(UserError, match="not an instructions file of MIMIC-IT"):
        list(read_mimicit(tmp_path / "x.json", None, 9))


def test_a_large_object_is_read_member_by_member(tmp_path: Path) -> None:
    def large() -> Iterator[tuple[str, Any]]:
        yield "words", [1, -2.5e3, None, True, {"nested": "}"}]
        yield "number", 12345
        for i in range(3):
            yield f"long {i}", chr(97 + i) * (PIECE + i)
        yield 'escaped "', "é\\"

    expected = dict(large())
    (tmp_path / "x.json").write_text(json.dumps({"data": expected}, indent=2))
    assert dict(members(tmp_path / "x.json", inside="data")) == expected
    (tmp_path / "y.json").write_text(json.dumps(expected))
    assert dict(members(tmp_path / "y.json")) == expected
    (tmp_path / "z.json").write_text("{}")
    assert dict(members(tmp_path / "z.json")) == {}
