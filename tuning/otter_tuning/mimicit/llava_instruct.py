"""LLaVA-Instruct's files read as MIMIC-IT's LA: conversations, detailed descriptions, reasoning.

A record is `{"id", "image", "conversations": [{"from": "human"|"gpt", "value"}, …]}`. Each question
with its answer becomes a pair; a turn of a conversation has the turns before it as its context.
"""

from __future__ import annotations

from itertools import count
from pathlib import Path
from typing import Any

from otter_runtime.errors import UserError
from otter_tuning.mimicit.instructions import Instruction, Instructions
from otter_tuning.mimicit.json_file import JsonFile
from otter_tuning.mimicit.names import DATASETS

# What each kind's ids begin with, in the releases.
KINDS = {"conversation": "LACONV", "detail": "LADD", "reasoning": "LACR_T2T"}
SPEAKERS = ("human", "gpt")
PLACEHOLDER = "<image>"
DIGITS = 12


def read_llava(path: Path, kind: str) -> Instructions:
    """The pairs of a LLaVA-Instruct file; UserError naming the record that is none."""
    records = JsonFile.read(path).value
    if not isinstance(records, list):
        raise UserError(f"{path} should be a list of conversations, as LLaVA-Instruct's files are")
    made = Instructions({"version": "0.0.1", "author": "LLaVA-Instruct", "time": ""})
    for record in records:
        name, turns = _record(path, record)
        before: list[str] = []
        for question, answer in turns:
            pair = _free(made, f"{KINDS[kind]}_00_INS_{name}", kind)
            image = DATASETS["LA"].image(name)
            made.add(Instruction(pair, question, answer, (image,), tuple(before)))
            before.append(pair)
    return made


def _free(made: Instructions, stem: str, kind: str) -> str:
    """The next id of a picture: turns are numbered, other pairs from the second on."""
    if kind != "conversation" and stem not in made:
        return stem
    return next(name for turn in count() if (name := f"{stem}_{turn}") not in made)


def _record(path: Path, record: Any) -> tuple[str, list[tuple[str, str]]]:
    """The picture's twelve digits, and questions with their answers."""
    try:
        name = Path(str(record["image"])).stem.rpartition("_")[2].zfill(DIGITS)
        said = [(turn["from"], str(turn["value"])) for turn in record["conversations"]]
    except (KeyError, TypeError) as error:
        raise UserError(f"{path}: a record lacks {error}: {str(record)[:80]}") from error
    speakers = [speaker for speaker, _ in said]
    if len(said) % 2 or speakers != list(SPEAKERS) * (len(said) // 2):
        raise UserError(f"{path}: {name} should alternate human and gpt, but is {speakers}")
    texts = [text.replace(PLACEHOLDER, "").strip() for _, text in said]
    return name, list(zip(texts[::2], texts[1::2], strict=True))
