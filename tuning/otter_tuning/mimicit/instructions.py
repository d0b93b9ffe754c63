"""Instruction-response pairs, and the file that holds them by id.

`{"meta": {version, time, author}, "data": {id: {instruction, answer, image_ids, rel_ins_ids}}}`.
Text-only pairs may leave `image_ids` out. Fields that are not ours stay as they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from otter_runtime.errors import UserError
from otter_tuning.mimicit.json_file import Hand, JsonFile, replace_text

SUFFIX = "_instructions.json"
TEXTS, LISTS = ("instruction", "answer"), ("image_ids", "rel_ins_ids")


@dataclass(frozen=True)
class Instruction:
    """One pair: what is asked, what is answered, what it is about, and its in-context examples.

    `image_ids` are one picture, a pair, or a video's frames in order; `rel_ins_ids` the pairs that
    may stand before it.
    """

    id: str
    instruction: str
    answer: str
    image_ids: tuple[str, ...] = ()
    rel_ins_ids: tuple[str, ...] = ()

    def raw(self) -> dict[str, Any]:
        """As it stands in the file."""
        return {
            "instruction": self.instruction,
            "answer": self.answer,
            "image_ids": list(self.image_ids),
            "rel_ins_ids": list(self.rel_ins_ids),
        }


@dataclass
class Instructions:
    """A file of pairs, in the order of the file; `duplicates` are ids that it had twice."""

    meta: dict[str, Any] = field(default_factory=dict)
    data: dict[str, dict[str, Any]] = field(default_factory=dict)
    hand: Hand = field(default_factory=Hand)
    duplicates: tuple[str, ...] = ()
    rest: dict[str, Any] = field(default_factory=dict)  # what else the file has at its top

    @classmethod
    def read(cls, path: Path) -> Instructions:
        """Raises UserError where it is no file of pairs, naming the first that is none."""
        file = JsonFile.read(path)
        if not isinstance(file.value, dict) or not isinstance(file.value.get("data"), dict):
            raise UserError(f'{path} is not a file of instructions: it has no "data" by ids')
        for name, raw in file.value["data"].items():
            _check(path, name, raw)
        rest = {key: value for key, value in file.value.items() if key not in ("meta", "data")}
        meta = file.value.get("meta", {})
        return cls(meta, file.value["data"], file.hand, file.duplicates, rest)

    def write(self, path: Path) -> None:
        """Write the file; one that was read and not changed comes out as it was."""
        replace_text(path, self.hand.write({"meta": self.meta, "data": self.data, **self.rest}))

    def add(self, pair: Instruction) -> None:
        """Raises UserError where the id is taken."""
        if pair.id in self.data:
            raise UserError(f"there are two instructions {pair.id}; give each an id of its own")
        self.data[pair.id] = pair.raw()

    def __getitem__(self, name: str) -> Instruction:
        raw = self.data[name]
        images, related = (tuple(raw.get(key, ())) for key in LISTS)
        return Instruction(name, raw["instruction"], raw["answer"], images, related)

    def __iter__(self) -> Iterator[Instruction]:
        return map(self.__getitem__, self.data)

    def __len__(self) -> int:
        return len(self.data)

    def __contains__(self, name: object) -> bool:
        return name in self.data


def read_contexts(path: Path) -> dict[str, list[str]]:
    """A context map (`*_train.json`): {id to train on: ids of its examples}; UserError."""
    value = JsonFile.read(path).value
    if not isinstance(value, dict) or not all(map(_is_texts, value.values())):
        raise UserError(f"{path} is not a context map: it should map each id to a list of ids")
    return value


def write_contexts(path: Path, contexts: Mapping[str, list[str]], hand: Hand | None = None) -> None:
    """Write a context map."""
    replace_text(path, (hand or Hand()).write(dict(contexts)))


def _check(path: Path, name: str, raw: Any) -> None:
    if not isinstance(raw, dict):
        raise UserError(f"{path}: {name} is a {type(raw).__name__}, an object is expected")
    for key in TEXTS:
        if not isinstance(raw.get(key), str):
            raise UserError(f"{path}: {name} has no text {key!r}; every pair has one")
    for key in LISTS:
        if key in raw and not _is_texts(raw[key]):
            raise UserError(f"{path}: {key} of {name} should be a list of ids")


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)
