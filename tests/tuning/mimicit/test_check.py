"""Planted faults are found and repaired, each by its kind; ids of every known drift."""

from __future__ import annotations

from pathlib import Path

import pytest

from otter_runtime.errors import UserError
from otter_tuning.mimicit.check import KINDS, Checked, check
from otter_tuning.mimicit.instructions import Instruction, Instructions
from otter_tuning.mimicit.mixture import Mixture, Source, read_mixture, write_mixture
from otter_tuning.mimicit.names import DATASETS, frame_of, meaning


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("LA_IMG_000000033471", "LA_00_IMG_000000033471"),
        ("LA_00_IMG_000000033471_2", "LA_00_IMG_000000033471"),
        ("CGD_IMG_0000000000069568", "CGD_IMG_000000069568"),
        ("DC_IMG_v_AB_cd_0007", "DC_IMG_v_AB_cd_000007"),
        (
            "TVC_IMG_castle_s07e09_seg02_clip_02_castle_s07e09_seg02_clip_02_00009",
            "TVC_IMG_castle_s07e09_seg02_clip_02_00009",
        ),
        (
            "TVC_IMG_s04e13_seg01_clip_00_bbt_s04e13_seg01_00003",
            "TVC_IMG_s04e13_seg01_clip_00_00003",
        ),
        ("E4D_IMG_0a1b-22_00000012", "E4D_IMG_0a1b-22_12"),
    ],
)
def test_two_spellings_of_one_picture(one: str, other: str) -> None:
    assert meaning(one) == meaning(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("LA_00_IMG_000000033471", "LA_00_IMG_000000033472"),
        ("LA_00_IMG_000000033471", "CGD_IMG_000000033471"),
        ("TVC_IMG_castle_s07e09_seg02_clip_02_00009", "TVC_IMG_friends_s07e09_seg02_clip_02_00009"),
        ("DC_IMG_v_AB_cd_0007", "DC_IMG_v_AB_cD_0007"),
        ("SN_IMG_scene0000_00_color_000001", "SN_IMG_scene0000_01_color_000001"),
    ],
)
def test_two_pictures(one: str, other: str) -> None:
    assert meaning(one) != meaning(other)


def test_ids_as_the_releases_spell_them() -> None:
    made = {name: one.image("x", 7 if one.digits else None) for name, one in DATASETS.items()}
    assert made["LA"] == "LA_00_IMG_x"
    assert made["DC"] == "DC_IMG_x_0007"
    assert made["E4D"] == "E4D_IMG_x_00000007"
    assert frame_of("E4D_IMG_x_00000007") == ("E4D_IMG_x", 7)
    assert frame_of("LA_00_IMG_000000033471") is None


def pairs(*all_of: Instruction) -> Instructions:
    made = Instructions()
    for pair in all_of:
        made.add(pair)
    return made


def still(number: int, image: str, *related: str) -> Instruction:
    return Instruction(f"LA_INS_{number}", f"What is {number}?", "It is.", (image,), related)


def video(number: int, frames: list[int], *related: str) -> Instruction:
    images = tuple(f"DC_IMG_v_x_{frame:04d}" for frame in frames)
    return Instruction(f"DC_INS_{number}", f"Then {number}?", "It ends.", images, related)


def kinds(checked: Checked) -> dict[str, int]:
    return {kind: count for kind, count in checked.counts.items() if kind != "unused-image"}


def test_a_sound_set_has_no_fault_and_stays_as_it_is() -> None:
    given = pairs(still(1, "LA_00_IMG_1", "LA_INS_2"), still(2, "LA_00_IMG_2"), video(3, [0, 2, 4]))
    images = ["LA_00_IMG_1", "LA_00_IMG_2", *(f"DC_IMG_v_x_{n:04d}" for n in (0, 2, 4))]
    checked = check(given, images, {"LA_INS_1": ["LA_INS_2"]})
    assert checked.faults == []
    assert checked.instructions.data == given.data
    assert checked.contexts == {"LA_INS_1": ["LA_INS_2"]}


def test_contexts_that_nothing_answers_to() -> None:
    given = pairs(still(1, "LA_00_IMG_1", "LA_INS_9", "LA_INS_1", "SD_INS_1"))
    checked = check(given, ["LA_00_IMG_1"], None, others={"SD_INS_1"})
    assert kinds(checked) == {"dangling-context": 1, "own-context": 1}
    assert checked.instructions["LA_INS_1"].rel_ins_ids == ("SD_INS_1",)


def test_pictures_under_another_spelling_are_respelt() -> None:
    checked = check(pairs(still(1, "LA_IMG_000000000001")), ["LA_00_IMG_000000000001"])
    assert kinds(checked) == {"image-drift": 1}
    assert checked.instructions["LA_INS_1"].image_ids == ("LA_00_IMG_000000000001",)


def test_pictures_that_are_not_there() -> None:
    given = pairs(
        still(1, "LA_00_IMG_1"), video(2, [0, 1, 2, 3]), still(3, "LA_00_IMG_3", "LA_INS_1")
    )
    images = ["LA_00_IMG_3", *(f"DC_IMG_v_x_{n:04d}" for n in (0, 1, 3))]
    checked = check(given, images)
    assert kinds(checked) == {"dangling-image": 2, "dangling-context": 1}
    assert list(checked.instructions.data) == ["DC_INS_2", "LA_INS_3"]
    assert len(checked.instructions["DC_INS_2"].image_ids) == 3
    # LA_INS_1 went with its picture, so nobody may name it any more.
    assert checked.instructions["LA_INS_3"].rel_ins_ids == ()


def test_holes_in_a_video() -> None:
    images = [f"DC_IMG_v_x_{n:04d}" for n in range(12)]
    checked = check(pairs(video(1, [0, 1, 2, 5, 6]), video(2, [0, 3, 6, 9])), images)
    assert [
        (fault.where, fault.found) for fault in checked.faults if fault.kind == "missing-frame"
    ] == [("DC_INS_1", "after 2, 2")]


def test_duplicates_and_empty_texts(tmp_path: Path) -> None:
    path = tmp_path / "x_instructions.json"
    record = '{"instruction": "What?", "answer": "That.", "image_ids": ["LA_00_IMG_1"]}'
    empty = '{"instruction": "What?", "answer": " "}'
    path.write_text(f'{{"data": {{"a": {record}, "b": {record}, "a": {record}, "c": {empty}}}}}')
    checked = check(Instructions.read(path), ["LA_00_IMG_1"])
    assert kinds(checked) == {"duplicate-id": 1, "duplicate-pair": 1, "empty-text": 1}
    assert list(checked.instructions.data) == ["a"]


def test_context_maps_and_unused_pictures() -> None:
    given = pairs(still(1, "LA_00_IMG_1"), still(2, "LA_00_IMG_1"))
    contexts = {"LA_INS_1": ["LA_INS_2", "LA_INS_8", "LA_INS_1"], "LA_INS_7": []}
    checked = check(given, ["LA_00_IMG_1", "LA_00_IMG_5"], contexts)
    assert checked.contexts == {"LA_INS_1": ["LA_INS_2"]}
    assert checked.counts == {
        "dangling-context": 1,
        "own-context": 1,
        "dangling-query": 1,
        "unused-image": 1,
    }
    assert set(checked.counts) <= set(KINDS)


def test_a_repaired_set_has_no_fault_left() -> None:
    given = pairs(
        still(1, "LA_IMG_1", "LA_INS_9", "LA_INS_3"),
        still(2, "LA_00_IMG_9"),
        still(3, "LA_00_IMG_1", "LA_INS_2"),
    )
    images = ["LA_00_IMG_1"]
    once = check(given, images, {"LA_INS_3": ["LA_INS_2"], "LA_INS_2": ["LA_INS_1"]})
    again = check(once.instructions, images, once.contexts)
    assert once.faults
    assert again.faults == []


def test_fields_that_are_not_ours_stay() -> None:
    given = pairs(still(1, "LA_IMG_1"))
    given.data["LA_INS_1"]["seen"] = 3
    checked = check(given, ["LA_00_IMG_1"])
    assert checked.instructions.data["LA_INS_1"]["seen"] == 3


MIXTURE: Mixture = {
    "VIDEO_TEXT": {
        "DC": Source(mimicit_path="DC_instructions.json", images_path="DC.parquet", num_samples=100)
    },
    "TEXT_ONLY": {"chat": Source(mimicit_path="a.json", task_description=["Répondez."])},
}


def test_a_mixture_comes_out_as_it_went_in(tmp_path: Path) -> None:
    write_mixture(tmp_path / "a.yaml", MIXTURE)
    assert read_mixture(tmp_path / "a.yaml") == MIXTURE
    write_mixture(tmp_path / "b.yaml", read_mixture(tmp_path / "a.yaml"))
    assert (tmp_path / "a.yaml").read_bytes() == (tmp_path / "b.yaml").read_bytes()
    source = MIXTURE["VIDEO_TEXT"]["DC"].resolved(tmp_path)
    assert source.images_path == str(tmp_path / "DC.parquet")
    assert source.train_config_path == ""


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("VIDEO_TXT: {}", "VIDEO_TXT; did you mean VIDEO_TEXT"),
        ("VIDEO_TEXT: {DC: {mimicit_pth: x}}", r"DC\.mimicit_pth; did you mean mimicit_path"),
        ("VIDEO_TEXT: {DC: {mimicit_path: x, num_samples: many}}", "DC cannot be used"),
        ("VIDEO_TEXT: {DC: {}}", "DC cannot be used"),
        ("VIDEO_TEXT: [1]", "VIDEO_TEXT should map datasets"),
        ("[1]", "should map groups"),
        ("{", "is not YAML"),
    ],
)
def test_what_is_no_mixture(text: str, told: str, tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(text)
    with pytest.raises(UserError, match=told):
        read_mixture(tmp_path / "x.yaml")
