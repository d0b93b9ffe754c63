"""Parity on folders of the golden format that nobody recorded: any prompt, any media, any gating.

The truth is our network recomputing everything at each step, which the recorded cases hold to the
reference; here both backends must read such a folder and come to the same.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import parity
import pytest
import torch

from otter_model.checkpoint import Checkpoint, save
from otter_model.config import Family
from otter_model.cross_attention import Media
from otter_model.otter import Otter
from otter_model.random_weights import RandomTensors
from otter_model.tiny import FAMILIES, tiny_config

IMAGE, ANSWER, STOP, PAD = 61, 62, 60, 63
NEW_TOKENS = 6


@dataclass(frozen=True)
class Shape:
    """What a case is made of: rows as words ("I" an image, "." a token, "A" the answer token)."""

    rows: tuple[str, ...]
    media: int = 1
    frames: int = 1
    max_frames: int | None = None
    every: int = 2
    image_size: int = 16
    dtype: str = "float32"


SHAPES = {
    "text-only": Shape(("......",)),
    "text-only-batch": Shape((".......", "..A")),
    "ragged": Shape(("I...I.....I..A", "I..A", ".....", ".I.."), media=3),
    "ragged-video": Shape(("..I...I....", "I..A"), media=2, frames=5, max_frames=8),
    "surplus-media": Shape(("I..A",), media=4, frames=2),
    "images-alone": Shape(("III",), media=3),
    "ends-with-image": Shape(("....I",)),
    "every-layer": Shape(("I...I..",), media=2, frames=3, every=1),
    "every-third-layer": Shape(("I...I..",), media=2, frames=3, every=3),
    "last-layer": Shape(("I...I..",), media=2, frames=4, max_frames=4, every=4),
    "longer-than-a-chunk": Shape(("I" + "." * 80 + "I" + "." * 40,), media=2),
    "no-whole-patches": Shape(("I..",), image_size=20),
    "double-precision": Shape(("I..",), dtype="float64"),
}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Networks as small as these spend their time in waking a second one."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def written(shape: Shape, family: Family, folder: Path) -> Path:
    """A folder of the golden format; media that a row does not mention are zeros."""
    config = tiny_config(family, shape.max_frames)
    config = replace(
        config,
        vision=replace(config.vision, image_size=shape.image_size),
        decoder=replace(config.decoder, cross_attn_every=shape.every, max_positions=256),
    )
    otter = Checkpoint(config, RandomTensors(config, 3)).build().requires_grad_(False)
    save(otter, folder)
    raw = json.loads((folder / "config.json").read_text())
    (folder / "meta.json").write_text(json.dumps(raw.pop("otter_edge")))
    (folder / "config.json").write_text(json.dumps(raw))
    random = np.random.default_rng(5)
    rows = [ids(row, random) for row in shape.rows]
    size = (shape.media, shape.frames, 3, shape.image_size, shape.image_size)
    pictures = random.standard_normal((len(rows), *size)).astype(np.float32)
    for row, one in zip(rows, pictures, strict=True):
        one[row.count(IMAGE) :] = 0
    np.savez(
        folder / "inputs.npz",
        vision_x=pictures.astype(shape.dtype),
        input_ids=left_padded(rows),
        attention_mask=left_padded([[1] * len(row) for row in rows], 0),
    )
    np.savez(folder / "outputs.npz", **outputs(otter, rows, pictures))
    return folder


def ids(row: str, random: np.random.Generator) -> list[int]:
    special = {"I": IMAGE, "A": ANSWER}
    return [special.get(letter) or int(random.integers(3, 59)) for letter in row]


def left_padded(rows: Sequence[Sequence[int]], pad: int = PAD) -> Any:
    longest = max(map(len, rows))
    return np.array([[*[pad] * (longest - len(row)), *row] for row in rows], np.int64)


def outputs(otter: Otter, rows: list[list[int]], pictures: Any) -> dict[str, Any]:
    """Logits, and both greedy runs with nothing cached."""
    longest = max(map(len, rows))
    logits = np.zeros((len(rows), longest, otter.config.decoder.vocab), np.float32)
    runs: dict[str, list[list[int]]] = {"gen_naive": [], "gen_cache": []}
    for at, row in enumerate(rows):
        media = otter.look(torch.from_numpy(pictures[at][None]))
        logits[at, longest - len(row) :] = recomputed(otter, media, row, len(row))
        runs["gen_naive"].append(continued(otter, media, row, blind=False))
        runs["gen_cache"].append(continued(otter, media, row, blind=True))
    ended = {
        name: np.array([one + [PAD] * (NEW_TOKENS - len(one)) for one in run])
        for name, run in runs.items()
    }
    return {"logits": logits, **ended}


def recomputed(otter: Otter, media: Media, row: list[int], sighted: int) -> Any:
    """Logits of all of `row` (tokens, vocab); tokens from `sighted` on count images from zero."""
    tokens = torch.tensor([row])
    index = otter.media_index(tokens)
    index[0, sighted:] = (tokens[0, sighted:] == IMAGE).long()
    return otter.decode(tokens, index, media)[0][0].numpy()


def continued(otter: Otter, media: Media, row: list[int], blind: bool) -> list[int]:
    new: list[int] = []
    while len(new) < NEW_TOKENS and STOP not in new:
        whole = row + new
        logits = recomputed(otter, media, whole, len(row) if blind else len(whole))
        new.append(int(logits[-1].argmax()))
    return new


@pytest.mark.parametrize("backend", ["torch", "onnx"])
@pytest.mark.parametrize("family", FAMILIES)
def test_any_case_is_read_and_computed(
    family: Family, backend: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cases = [str(written(shape, family, tmp_path / name)) for name, shape in SHAPES.items()]
    assert parity.main([*cases, "--backend", backend, "--json"]) == 0
    verdicts = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [verdict["case"] for verdict in verdicts] == list(SHAPES)
    assert all(verdict["ids_equal_seeing"] and verdict["ids_equal_blind"] for verdict in verdicts)
    assert {verdict["ids_equal_beam3"] for verdict in verdicts} == {None}


@pytest.mark.parametrize("backend", ["torch", "onnx"])
def test_a_damaged_case_is_one_sentence(
    backend: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    too_few = written(replace(SHAPES["surplus-media"], rows=("IIIII",)), "mpt", tmp_path / "few")
    too_many = replace(SHAPES["last-layer"], max_frames=8)
    folder = written(too_many, "mpt", tmp_path / "frames")
    with np.load(folder / "inputs.npz") as file:
        inputs = dict(file)
    inputs["vision_x"] = np.repeat(inputs["vision_x"], 3, axis=2)  # 12 frames
    np.savez(folder / "inputs.npz", **inputs)
    lacking = written(SHAPES["text-only"], "mpt", tmp_path / "lacking")
    np.savez(lacking / "inputs.npz", input_ids=inputs["input_ids"])
    cut = written(SHAPES["text-only"], "mpt", tmp_path / "cut")
    (cut / "outputs.npz").write_bytes((cut / "outputs.npz").read_bytes()[:100])
    said = ("5 <image> tokens", "12 frames", "lacks vision_x", "cannot be read")
    for case, says in zip((too_few, folder, lacking, cut), said, strict=True):
        assert parity.main([str(case), "--backend", backend, "--json"]) == 2
        captured = capsys.readouterr()
        assert captured.out == ""
        assert captured.err.startswith(f"{case}: ")
        assert captured.err.count("\n") == 1
        assert says in captured.err
