"""Pictures by id on disk, however many: SQLite, so that memory stays flat.

It takes the released files, JSON (`{id: base64}`) and Parquet (index `image_id`, one column
`base64`), and gives them back. Pictures stay encoded as they came (PNG or JPEG).
"""

from __future__ import annotations

import base64
import binascii
import io
import json
import mmap
import re
import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from otter_runtime.errors import UserError

# Pages that SQLite may keep in memory, in KiB; and pictures per transaction.
CACHE_KIB, BATCH = 16_384, 256
STORES = (".sqlite", ".db")
PARQUET_ROWS = 64  # per row group: what a reader has to hold at once
# Mapped pages that have been read count as memory until they are given back.
PASSED_BYTES = 1 << 25
PARQUET_BYTES = 2_000_000_000  # per file, as the released ones
_ESCAPED = re.compile(rb'(?<!\\)(?:\\\\)*"')


class ImageStore:
    """A store at `path`, made where there is none. One process writes, any number read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._base = sqlite3.connect(path)
            self._base.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
            self._base.execute("PRAGMA journal_mode = WAL")
            self._base.execute("CREATE TABLE IF NOT EXISTS image (id TEXT PRIMARY KEY, data BLOB)")
            self._base.execute("CREATE TABLE IF NOT EXISTS done (path TEXT PRIMARY KEY)")
        except (OSError, sqlite3.Error) as error:
            raise UserError(f"{path} is no image store ({error}); give another file") from error

    def add(self, images: Iterable[tuple[str, bytes]], of: str | None = None) -> list[str]:
        """Add (id, encoded picture); the ids that were there already, which stay as they are.

        `of` is the file that all of them are from: it is `done` when they are there.
        """
        taken: list[str] = []
        try:
            for at, (name, data) in enumerate(images, 1):
                try:
                    self._base.execute("INSERT INTO image VALUES (?, ?)", (name, data))
                except sqlite3.IntegrityError:
                    taken.append(name)
                if at % BATCH == 0 and of is None:
                    self._base.commit()
            if of is not None:
                self._base.execute("INSERT OR IGNORE INTO done VALUES (?)", (of,))
            self._base.commit()
        except sqlite3.Error as error:
            raise UserError(f"{self.path} cannot be written ({error})") from error
        return taken

    def done(self) -> set[str]:
        """The files whose pictures are all there."""
        return {row[0] for row in self._base.execute("SELECT path FROM done")}

    def __getitem__(self, name: str) -> bytes:
        row = self._base.execute("SELECT data FROM image WHERE id = ?", (name,)).fetchone()
        if row is None:
            raise KeyError(name)
        data: bytes = row[0]
        return data

    def pixels(self, name: str) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 RGB; KeyError where there is none, UserError where it is no picture."""
        try:
            return np.asarray(Image.open(io.BytesIO(self[name])).convert("RGB"))
        except (OSError, ValueError, SyntaxError) as error:
            raise UserError(f"{name} in {self.path} is not a picture ({error})") from error

    def __contains__(self, name: object) -> bool:
        query = "SELECT 1 FROM image WHERE id = ?"
        return self._base.execute(query, (name,)).fetchone() is not None

    def __iter__(self) -> Iterator[str]:
        """The ids, in the order in which they were added."""
        return (row[0] for row in self._base.execute("SELECT id FROM image ORDER BY rowid"))

    def __len__(self) -> int:
        return int(self._base.execute("SELECT count(*) FROM image").fetchone()[0])

    def close(self) -> None:
        self._base.close()

    def __enter__(self) -> ImageStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # The released files.

    def read(self, path: Path) -> list[str]:
        """Add every picture of a JSON or Parquet file, or of a folder of either; ids taken."""
        return [name for file in picture_files(path) for name in self.add(pictures(file))]

    def write_json(self, path: Path) -> None:
        """As `{id: base64}`, in the order of the store."""
        partial = path.with_name(path.name + ".partial")
        with partial.open("w", encoding="utf-8") as file:
            file.write("{")
            for at, name in enumerate(self):
                coded = base64.b64encode(self[name]).decode()
                file.write(f'{", " if at else ""}{json.dumps(name)}: "{coded}"')
            file.write("}")
        partial.replace(path)

    def write_parquet(self, path: Path, most_bytes: int = PARQUET_BYTES) -> list[Path]:
        """As Parquet, `NAME.parquet`, or `NAME_000.parquet` … where one file would be too large."""
        from otter_tuning.mimicit.parquet_file import ParquetImages

        with ParquetImages(path, PARQUET_ROWS, most_bytes) as file:
            for name in self:
                file.append(name, base64.b64encode(self[name]).decode())
        return file.paths


def image_ids(path: Path) -> list[str]:
    """The ids of the pictures in a store, file or folder; the pictures are passed over."""
    if not path.exists():
        raise UserError(f"there is no {path}; give a store, a file or a folder of pictures")
    if path.suffix in STORES:
        with ImageStore(path) as store:
            return list(store)
    return [name for file in picture_files(path) for name, _ in pictures(file)]


def picture_files(path: Path) -> list[Path]:
    """`path`, or of a folder its JSON and Parquet files."""
    if not path.is_dir():
        return [path]
    return sorted([*path.glob("*.json"), *path.glob("*.parquet")])


def pictures(path: Path) -> Iterator[tuple[str, bytes]]:
    """(id, picture) of a JSON or Parquet file, one at a time; UserError where it is neither."""
    reader = {".json": json_images, ".parquet": parquet_images}.get(path.suffix)
    if reader is None:
        raise UserError(
            f"{path} should be a file of pictures that ends in .json, .parquet or .sqlite"
        )
    return reader(path)


def json_images(path: Path) -> Iterator[tuple[str, bytes]]:
    """(id, picture) of a `{id: base64}` file, one at a time; UserError where it is none."""
    try:
        if not path.stat().st_size:
            raise UserError(f"{path} is empty; download it again")
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
            yield from _pairs(path, text)
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror})") from error


def parquet_images(path: Path) -> Iterator[tuple[str, bytes]]:
    """(id, picture) of a Parquet file, a few rows at a time; UserError where it is none."""
    from otter_tuning.mimicit.parquet_file import rows

    for name, text in rows(path):
        yield name, _decoded(path, name, text.encode())


def _pairs(path: Path, text: mmap.mmap) -> Iterator[tuple[str, bytes]]:
    """Strings come in pairs, id and picture; base64 has no escapes, an id may."""
    at, done = text.find(b"{"), 0
    if at < 0 or text[:at].strip():
        raise UserError(f"{path} is not a file of pictures: it should map ids to base64 texts")
    while (start := text.find(b'"', at)) >= 0:
        key = _ESCAPED.search(text, start + 1)
        begin = text.find(b'"', key.end()) if key else -1
        end = text.find(b'"', begin + 1)
        if key is None or begin < 0 or end < 0 or text[key.end() : begin].strip() != b":":
            raise UserError(f"{path} is cut short or no file of pictures, at byte {start}")
        name = json.loads(text[start : key.end()])
        yield name, _decoded(path, name, text[begin + 1 : end])
        at = end + 1
        if at - done >= PASSED_BYTES:
            text.madvise(mmap.MADV_DONTNEED, done, PASSED_BYTES)
            done += PASSED_BYTES
    if text[at:].strip() not in (b"}", b"{}"):
        raise UserError(f"{path} is cut short at byte {at}; download it again")


def _decoded(path: Path, name: str, coded: bytes) -> bytes:
    try:
        return base64.b64decode(coded, validate=True)
    except (binascii.Error, ValueError) as error:
        raise UserError(f"{name} in {path} is not base64 ({error}); download it again") from error
