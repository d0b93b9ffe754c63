"""MIMIC-IT's files: read and written again they are the same bytes; damage is told."""

from __future__ import annotations

import base64
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from otter_runtime.errors import UserError
from otter_tuning.mimicit.image_store import ImageStore, json_images
from otter_tuning.mimicit.instructions import (
    Instruction,
    Instructions,
    read_contexts,
    write_contexts,
)
from otter_tuning.mimicit.json_file import JsonFile

PAIRS: dict[str, Any] = {
    "meta": {"version": "0.0.1", "time": "2023-06", "author": "Bo Li"},
    "data": {
        "DC_INS_00001": {
            "instruction": 'Who is "it"?',
            "answer": "A naïve 水獺\n on two lines",
            "image_ids": ["DC_IMG_v_x_0000", "DC_IMG_v_x_0001"],
            "rel_ins_ids": ["DC_INS_00002"],
        },
        "DC_INS_00002": {"instruction": "", "answer": "", "rel_ins_ids": [], "seen": [1, 2.5]},
    },
}
HANDS: list[dict[str, Any]] = [
    {},
    {"ensure_ascii": False},
    {"indent": 4},
    {"indent": 2, "ensure_ascii": False},
    {"indent": "\t"},
    {"separators": (",", ":")},
]


def picture(shade: int, kind: str = "PNG", size: int = 8) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.full((size, size, 3), shade, np.uint8)).save(buffer, kind)
    return buffer.getvalue()


@pytest.mark.parametrize("end", ["", "\n"])
@pytest.mark.parametrize("hand", HANDS, ids=str)
def test_instructions_come_out_as_they_went_in(
    hand: dict[str, Any], end: str, tmp_path: Path
) -> None:
    path = tmp_path / "DC_instructions.json"
    path.write_text(json.dumps(PAIRS, **hand) + end, encoding="utf-8")
    file = Instructions.read(path)
    file.write(tmp_path / "again.json")
    assert (tmp_path / "again.json").read_bytes() == path.read_bytes()
    assert file["DC_INS_00001"].image_ids == ("DC_IMG_v_x_0000", "DC_IMG_v_x_0001")
    assert file["DC_INS_00002"].image_ids == ()
    assert [pair.id for pair in file] == list(PAIRS["data"])


def test_pairs_are_added_once() -> None:
    file = Instructions()
    pair = Instruction("LA_INS_1", "What?", "That.", ("LA_00_IMG_1",), ())
    file.add(pair)
    assert file["LA_INS_1"] == pair
    with pytest.raises(UserError, match="two instructions LA_INS_1"):
        file.add(pair)


def test_keys_that_stand_twice_are_known(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text(
        '{"data": {"a": {"instruction": "", "answer": "1"},'
        ' "a": {"instruction": "", "answer": "2"}}}'
    )
    file = Instructions.read(path)
    assert file.duplicates == ("a",)
    assert file["a"].answer == "2"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "is not JSON"),
        ("[]", 'has no "data"'),
        ('{"data": []}', 'has no "data"'),
        ('{"data": {"a": 1}}', "a is a int, an object is expected"),
        ('{"data": {"a": {"instruction": "x"}}}', "a has no text 'answer'"),
        (
            '{"data": {"a": {"instruction": "x", "answer": "y", "image_ids": "z"}}}',
            "image_ids of a",
        ),
    ],
)
def test_what_is_no_file_of_pairs(text: str, told: str, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(UserError, match=told):
        Instructions.read(tmp_path / "x.json")


@pytest.mark.parametrize("hand", HANDS, ids=str)
def test_context_maps(hand: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "DC_train.json"
    path.write_text(json.dumps({"DC_INS_1": ["DC_INS_2", "DC_INS_3"], "DC_INS_9": []}, **hand))
    file = JsonFile.read(path)
    write_contexts(tmp_path / "again.json", read_contexts(path), file.hand)
    assert (tmp_path / "again.json").read_bytes() == path.read_bytes()
    path.write_text('{"a": [1]}')
    with pytest.raises(UserError, match="is not a context map"):
        read_contexts(path)


def test_pictures_as_json_and_parquet_are_the_same(tmp_path: Path) -> None:
    images = {f"SD_IMG_{at}": picture(at, ("PNG", "JPEG")[at % 2]) for at in range(20)}
    images['odd "name" \\'] = picture(99)
    given = tmp_path / "SD.json"
    coded = {name: base64.b64encode(data).decode() for name, data in images.items()}
    given.write_text(json.dumps(coded))
    with ImageStore(tmp_path / "a.sqlite") as store:
        assert store.read(given) == []
        assert {name: store[name] for name in store} == images
        assert list(store) == list(images)
        store.write_json(tmp_path / "again.json")
        assert (tmp_path / "again.json").read_bytes() == given.read_bytes()
        (whole,) = store.write_parquet(tmp_path / "SD.parquet")
        parts = store.write_parquet(tmp_path / "parts.parquet", most_bytes=4000)
        assert [path.name for path in parts[:2]] == ["parts_000.parquet", "parts_001.parquet"]
        assert not (tmp_path / "parts.parquet").exists()
    for sources in ([whole], parts):
        with ImageStore(tmp_path / f"{sources[0].stem}.sqlite") as store:
            assert [store.read(path) for path in sources] == [[]] * len(sources)
            assert {name: store[name] for name in store} == images
            (again,) = store.write_parquet(tmp_path / "again.parquet")
            assert again.read_bytes() == whole.read_bytes()
            assert store.pixels("SD_IMG_4").tolist() == np.full((8, 8, 3), 4).tolist()


def test_pandas_finds_its_index(tmp_path: Path) -> None:
    arrow = pytest.importorskip("pyarrow.parquet")
    with ImageStore(tmp_path / "a.sqlite") as store:
        store.add([("DC_IMG_1", picture(1))])
        store.write_parquet(tmp_path / "DC.parquet")
    told = json.loads(arrow.read_schema(tmp_path / "DC.parquet").metadata[b"pandas"])
    assert told["index_columns"] == ["image_id"]


def test_a_picture_that_is_there_already_is_named_and_stays(tmp_path: Path) -> None:
    with ImageStore(tmp_path / "a.sqlite") as store:
        assert store.add([("x", picture(1)), ("x", picture(2))]) == ["x"]
        assert (store["x"], len(store), "x" in store, "y" in store) == (picture(1), 1, True, False)
        with pytest.raises(KeyError):
            store["y"]
        store.add([("bad", b"no picture")])
        with pytest.raises(UserError, match=r"bad in .* is not a picture"):
            store.pixels("bad")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "is empty"),
        ("[1]", "not a file of pictures"),
        ('{"a": "QUJD", "b": "QU', "cut short"),
        ('{"a": "QUJD"', "cut short at byte"),
        ('{"a": "QU!D"}', "a in .* is not base64"),
        ('{"a": 5, "b": "QUJD"}', "cut short or no file of pictures"),
    ],
)
def test_what_is_no_file_of_pictures(text: str, told: str, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(UserError, match=told):
        list(json_images(tmp_path / "x.json"))
    (tmp_path / "x.parquet").write_text(text)
    with ImageStore(tmp_path / "a.sqlite") as store:
        with pytest.raises(UserError, match="is not a Parquet file"):
            store.read(tmp_path / "x.parquet")
        with pytest.raises(UserError, match=r"that ends in \.json"):
            store.read(tmp_path / "x.csv")


def test_twenty_thousand_pictures_take_no_memory(tmp_path: Path) -> None:
    """20,000 pictures of 15 kB, as JSON and as Parquet of one row group, then read one by one."""
    child = tmp_path / "child.py"
    child.write_text(CHILD)
    done = subprocess.run(
        [sys.executable, str(child), str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    grown = json.loads(done.stdout)
    assert grown["pictures"] == 20_000
    assert max(grown["json_mib"], grown["read_mib"]) < 200, grown


CHILD = """
import base64, json, os, sys
from pathlib import Path
from otter_tuning.mimicit.image_store import ImageStore
folder = Path(sys.argv[1])

def resident():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(l.split()[1]) for l in lines if l.startswith("VmRSS")) / 1024

text = base64.b64encode(os.urandom(15_000)).decode()
with (folder / "x.json").open("w") as file:
    file.write("{" + ", ".join(f'"DC_IMG_{n:08d}": "{text}"' for n in range(20_000)) + "}")
before = resident()
with ImageStore(folder / "x.sqlite") as store:
    store.read(folder / "x.json")
    after_json = resident()
    for name in store:
        store[name]
    print(json.dumps({"pictures": len(store), "json_mib": after_json - before,
                      "read_mib": resident() - before}))
"""
