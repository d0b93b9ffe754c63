"""Pictures as Parquet, as the released files are: index `image_id`, one column `base64`.

Written in small row groups, so that a reader holds a few pictures and not the file. Files whose
only row group holds everything are read through pages all the same.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from otter_runtime.errors import MissingExtra, UserError

INDEX, COLUMN = "image_id", "base64"
BUFFER = 1 << 20
READ_ROWS = 16


class ParquetImages:
    """Appends rows; begins another file where one has `most_bytes` of pictures."""

    def __init__(self, path: Path, rows: int, most_bytes: int) -> None:
        self.paths: list[Path] = []
        self._path, self._rows, self._most = path, rows, most_bytes
        self._names: list[str] = []
        self._texts: list[str] = []
        self._written = 0
        self._writer: Any = None
        self._arrow, self._parquet = _pyarrow()

    def append(self, name: str, text: str) -> None:
        """One more picture, base64."""
        if self._written + len(text) > self._most and self._written:
            self._end()
        self._names.append(name)
        self._texts.append(text)
        self._written += len(text)
        if len(self._names) >= self._rows:
            self._flush()

    def _flush(self) -> None:
        if self._writer is None:
            self.paths.append(self._next())
            self._writer = self._parquet.ParquetWriter(
                self.paths[-1], self._schema(), compression="zstd", use_dictionary=False
            )
        if self._names:
            table = self._arrow.table([self._texts, self._names], schema=self._schema())
            self._writer.write_table(table)
        self._names, self._texts = [], []

    def _end(self) -> None:
        self._flush()
        self._writer.close()
        self._writer, self._written = None, 0

    def _next(self) -> Path:
        number = len(self.paths)
        if number == 1:  # it turned out to be more than one
            first = self._numbered(0)
            self.paths[0].rename(first)
            self.paths[0] = first
        return self._numbered(number) if number else self._path

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.stem}_{number:03d}{self._path.suffix}")

    def _schema(self) -> Any:
        arrow = self._arrow
        fields = [arrow.field(COLUMN, arrow.string()), arrow.field(INDEX, arrow.string())]
        return arrow.schema(fields, metadata={"pandas": json.dumps(_pandas())})

    def __enter__(self) -> ParquetImages:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()


def rows(path: Path) -> Iterator[tuple[str, str]]:
    """(id, base64) of every row; UserError where the file has no such columns or is damaged."""
    arrow, parquet = _pyarrow()
    try:
        with parquet.ParquetFile(path, pre_buffer=False, buffer_size=BUFFER) as file:
            names = file.schema_arrow.names
            index = INDEX if INDEX in names else "__index_level_0__"
            if COLUMN not in names or index not in names:
                raise UserError(
                    f"{path} has the columns {', '.join(names)}; {INDEX} and {COLUMN} are expected"
                )
            for batch in file.iter_batches(READ_ROWS, columns=[index, COLUMN]):
                columns = batch.to_pydict()
                yield from zip(columns[index], columns[COLUMN], strict=True)
    except (OSError, arrow.ArrowException) as error:
        raise UserError(f"{path} is not a Parquet file of pictures ({error})") from error


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow
        import pyarrow.parquet as parquet
    except ModuleNotFoundError as error:
        raise MissingExtra("pyarrow", "tuning") from error
    return pyarrow, parquet


def _pandas() -> dict[str, Any]:
    """What tells pandas that `image_id` is the index."""

    def column(name: str) -> dict[str, Any]:
        return {
            "name": name,
            "field_name": name,
            "pandas_type": "unicode",
            "numpy_type": "object",
            "metadata": None,
        }

    return {
        "index_columns": [INDEX],
        "column_indexes": [],
        "columns": [column(COLUMN), column(INDEX)],
        "pandas_version": "2.0.0",
    }
