"""Calibration examples from MIMIC-IT: its instructions JSON, and its images as JSON or Parquet.

Both are read member by member, row by row: the sets are larger than a workstation's memory. In-
context examples (`rel_ins_ids`) are left out; they are more of the same.
"""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")

import cv2
import numpy as np

from otter_export.json_members import members
from otter_export.shown import Shown
from otter_runtime.errors import MissingExtra, UserError
from otter_runtime.frame import Pixels

ENDING = "_instructions.json"  # DC_instructions.json has its images in DC.json or DC.parquet
PARQUET_ROWS = 64


def read_mimicit(instructions: Path, images: Path | None, limit: int) -> Iterator[Shown]:
    """The first `limit` instructions with pictures of their own, in the order of the file.

    `images` None looks beside the instructions. Raises UserError where either file is not
    MIMIC-IT's, or a picture is missing.
    """
    chosen = _instructions(instructions, limit)
    wanted = {image for record in chosen for image in record["image_ids"]}
    source = images or _beside(instructions)
    found = _found(source, wanted)
    if missing := wanted - set(found):
        raise UserError(
            f"{source} lacks {min(missing)} and {len(missing) - 1} more pictures that "
            f"{instructions.name} names; give the images of the same set with --images"
        )
    for record in chosen:
        frames = [_picture(name, found[name]) for name in record["image_ids"]]
        yield Shown(frames, record["instruction"], record["answer"])


def _instructions(path: Path, limit: int) -> list[dict[str, Any]]:
    """Records whose pictures no earlier one has: a conversation's turns show one picture."""
    chosen: list[dict[str, Any]] = []
    shown: set[str] = set()
    try:
        for name, record in members(path, inside="data"):
            pictures = _checked(name, record)
            if pictures and shown.isdisjoint(pictures):
                shown.update(pictures)
                chosen.append(record)
            if len(chosen) == limit:
                break
    except (ValueError, UnicodeDecodeError) as error:
        raise UserError(
            f"{path} is not an instructions file of MIMIC-IT ({error}); give one, a folder of "
            "clips, or an .npz of samples"
        ) from None
    if not chosen:
        raise UserError(f"{path} has no instruction with pictures; give another file of the set")
    return chosen


def _checked(name: str, record: Any) -> list[str]:
    texts = isinstance(record, dict) and all(
        isinstance(record.get(field), str) for field in ("instruction", "answer")
    )
    pictures = record.get("image_ids", []) if texts else None
    if not isinstance(pictures, list) or not all(isinstance(one, str) for one in pictures):
        raise ValueError(f"{name} has no instruction, answer and image_ids")
    return pictures


def _beside(instructions: Path) -> Path:
    stem = instructions.name.removesuffix(ENDING)
    for ending in (".parquet", ".json"):
        path = instructions.with_name(stem + ending)
        if path != instructions and path.is_file():
            return path
    raise UserError(
        f"there is no {stem}.parquet or {stem}.json beside {instructions}; give --images FILE"
    )


def _found(source: Path, wanted: set[str]) -> dict[str, str]:
    """What `source` has of `wanted`; it is read no further than the last of them."""
    found: dict[str, str] = {}
    for name, data in _images(source):
        if name in wanted:
            found[name] = data
        if len(found) == len(wanted):
            break
    return found


def _images(path: Path) -> Iterator[tuple[str, str]]:
    """(image id, base64) of a file, or of every Parquet file in a folder of them."""
    if path.is_dir():
        for part in sorted(path.glob("*.parquet")):
            yield from _rows(part)
        return
    if path.suffix == ".parquet":
        yield from _rows(path)
        return
    try:
        yield from members(path)
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path} is not an images file of MIMIC-IT ({error}); it is a JSON object or Parquet "
            "of image ids to base64"
        ) from None


def _rows(path: Path) -> Iterator[tuple[str, str]]:
    try:
        from pyarrow import ArrowException
        from pyarrow.parquet import ParquetFile
    except ImportError as error:
        raise MissingExtra("pyarrow", "parquet") from error
    try:
        file = ParquetFile(path)
        (name,) = (column for column in file.schema_arrow.names if column != "base64")
        for batch in file.iter_batches(PARQUET_ROWS, columns=[name, "base64"]):
            rows = batch.to_pydict()
            yield from zip(rows[name], rows["base64"], strict=True)
    except (OSError, ValueError, ArrowException) as error:
        raise UserError(
            f"{path} is not an images file of MIMIC-IT ({error}); its columns are the image's id "
            "and base64"
        ) from None


def _picture(name: str, text: str) -> Pixels:
    try:
        data = np.frombuffer(base64.b64decode(text), np.uint8)
    except (binascii.Error, ValueError):
        data = np.empty(0, np.uint8)
    bgr = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
    if bgr is None:
        raise UserError(f"the picture {name} is not base64 of an image; fetch its file again")
    return np.ascontiguousarray(bgr[:, :, ::-1])
