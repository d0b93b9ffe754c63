"""`otter-edge mimicit`, as a user runs it."""

from __future__ import annotations

import argparse
import base64
import json
from pathlib import Path

import pytest

from otter_runtime.errors import UserError
from otter_tuning.commands import mimicit
from otter_tuning.mimicit.image_store import ImageStore
from otter_tuning.mimicit.instructions import Instruction, Instructions

PICTURE = b"\x89PNG any bytes"


def call(*words: object) -> int:
    parser = argparse.ArgumentParser()
    mimicit.add_arguments(parser)
    return mimicit.run(parser.parse_args([str(word) for word in words]))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """One pair that is sound, one whose picture is spelt otherwise, one that is left alone."""
    file = Instructions({"version": "0"})
    file.add(Instruction("LA_INS_1", "What?", "That.", ("LA_00_IMG_000000000001",)))
    file.add(Instruction("LA_INS_2", "Where?", "Here.", ("LA_IMG_000000000001",), ("LA_INS_9",)))
    file.add(Instruction("LA_INS_3", "Who?", "<b>.", ("LA_00_IMG_000000000007",)))
    file.write(tmp_path / "LA_instructions.json")
    images = {"LA_00_IMG_000000000001": base64.b64encode(PICTURE).decode()}
    (tmp_path / "LA.json").write_text(json.dumps(images))
    (tmp_path / "LA_train.json").write_text(json.dumps({"LA_INS_3": [], "LA_INS_1": ["LA_INS_3"]}))
    return tmp_path


def test_check_names_faults_and_says_so_by_its_exit_code(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = (folder / "LA_instructions.json", "--images", folder / "LA.json")
    page = folder / "report.html"
    assert call("check", *words, "--report", page, "--json") == 1
    told = json.loads(capsys.readouterr().out)
    assert told["counts"] == {"image-drift": 1, "dangling-context": 1, "dangling-image": 1}
    assert {fault["where"] for fault in told["faults"]} == {"LA_INS_2", "LA_INS_3"}
    text = page.read_text()
    assert "LA_00_IMG_000000000007" in text
    assert call("check", *words) == 1
    assert "1 image-drift" in capsys.readouterr().out


def test_repair_leaves_nothing_to_check(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images, out = ("--images", folder / "LA.json"), folder / "new"
    contexts = ("--contexts", folder / "LA_train.json")
    assert call("repair", folder / "LA_instructions.json", *images, *contexts, "-o", out) == 0
    assert "(2 pairs kept)" in capsys.readouterr().out
    again = ("--contexts", out / "LA_train.json")
    assert call("check", out / "LA_instructions.json", *images, *again) == 0
    assert "no fault" in capsys.readouterr().out
    assert json.loads((out / "LA_train.json").read_text()) == {"LA_INS_1": []}


def test_pack_turns_one_kind_into_another(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store, parquet = folder / "LA.sqlite", folder / "packed" / "LA.parquet"
    parquet.parent.mkdir()
    assert call("pack", folder / "LA.json", "-o", store) == 0
    assert call("pack", store, folder / "LA.json", "-o", parquet, "--json") == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert told == {
        "pictures": 1,
        "written": [str(parquet)],
        "twice": ["LA_00_IMG_000000000001"],
    }
    assert call("pack", parquet.parent, "-o", folder / "again.json") == 0
    assert (folder / "again.json").read_bytes() == (folder / "LA.json").read_bytes()
    with ImageStore(store) as made:
        assert made["LA_00_IMG_000000000001"] == PICTURE
    with pytest.raises(UserError, match=r"should end in \.sqlite"):
        call("pack", folder / "LA.json", "-o", folder / "x.csv")
