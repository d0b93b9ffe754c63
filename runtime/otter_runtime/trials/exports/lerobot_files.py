"""The files of a LeRobotDataset v3: Parquet and JSON, as lerobot 0.4.4 writes and reads them.

    meta/info.json, meta/stats.json, meta/tasks.parquet, meta/subtasks.parquet
    meta/episodes/chunk-000/file-000.parquet     where each episode's rows are, and its statistics
    data/chunk-000/file-000.parquet              the rows, with the pictures in them

It knows the layout (`lerobot/datasets/utils.py`, `lerobot_dataset.py`) and not what a row is of.
Pictures are in the rows (dtype `image`), as the files they are; there are no videos.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from otter_runtime.trials.exports.lerobot_stats import Stats, merged

VERSION = "v3.0"
FILE_MB, CHUNK_FILES = 100, 1000
GROUP_BYTES, GROUP_ROWS = 8 << 20, 64  # what a row group holds, and so what is held here
PLACE = "chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
_TYPES = {
    "string": pa.string(),
    "int64": pa.int64(),
    "float32": pa.float32(),
    "float64": pa.float64(),
    "image": pa.struct({"bytes": pa.binary(), "path": pa.string()}),
}
Feature = dict[str, Any]


def scalar(dtype: str) -> Feature:
    """A feature of one value a row."""
    return {"dtype": dtype, "shape": [1], "names": None}


DEFAULTS = {
    "timestamp": scalar("float32"),
    "frame_index": scalar("int64"),
    "episode_index": scalar("int64"),
    "index": scalar("int64"),
    "task_index": scalar("int64"),
}


class Dataset:
    """A dataset being written into the new folder `root`; `close` makes it one."""

    def __init__(self, root: Path, features: Mapping[str, Feature], fps: float) -> None:
        self.root, self.features, self.fps = root, {**features, **DEFAULTS}, fps
        self.rows = 0
        self._schema = _schema(self.features)
        self._writer: pq.ParquetWriter | None = None
        self._file, self._file_bytes, self._waiting_bytes = 0, 0, 0
        self._waiting: list[dict[str, Any]] = []
        self._episodes: list[dict[str, Any]] = []
        self._stats: list[dict[str, Stats]] = []
        root.mkdir()

    @property
    def episodes(self) -> int:
        """How many there are so far."""
        return len(self._episodes)

    def add(self, row: dict[str, Any], size: int) -> None:
        """A row of the present episode; `size` is about its bytes."""
        self._waiting.append(row | {"index": self.rows})
        self.rows += 1
        self._waiting_bytes += size
        self._file_bytes += size
        if self._waiting_bytes > GROUP_BYTES or len(self._waiting) == GROUP_ROWS:
            self._flush()

    def end_episode(self, length: int, tasks: Sequence[str], stats: dict[str, Stats]) -> None:
        """The last `length` rows are an episode; the next file begins where this one is full."""
        self._flush()
        self._episodes.append(
            {
                "episode_index": len(self._episodes),
                "tasks": list(tasks),
                "length": length,
                **_place("data", self._file),
                "dataset_from_index": self.rows - length,
                "dataset_to_index": self.rows,
                **_place("meta/episodes", 0),
                **_flat(stats),
            }
        )
        self._stats.append(stats)
        if self._file_bytes > FILE_MB << 20:
            self._end_file()

    def close(self, tasks: Sequence[str], subtasks: Sequence[str]) -> None:
        """Write what is known of the whole."""
        self._end_file()
        meta = self.root / "meta"
        _write(pa.Table.from_pylist(self._episodes), meta / "episodes" / _path(0))
        _write(_texts("task", tasks), meta / "tasks.parquet")
        _write(_texts("subtask", subtasks), meta / "subtasks.parquet")
        names = self._stats[0]
        whole = {name: merged([one[name] for one in self._stats]) for name in names}
        plain = {name: {key: one.tolist() for key, one in of.items()} for name, of in whole.items()}
        (meta / "stats.json").write_text(json.dumps(plain, indent=4))
        (meta / "info.json").write_text(json.dumps(self._info(len(tasks)), indent=4))

    def _info(self, tasks: int) -> dict[str, Any]:
        return {
            "codebase_version": VERSION,
            "robot_type": "otter-edge",
            "total_episodes": len(self._episodes),
            "total_frames": self.rows,
            "total_tasks": tasks,
            "chunks_size": CHUNK_FILES,
            "data_files_size_in_mb": FILE_MB,
            "video_files_size_in_mb": 200,
            "fps": self.fps,
            "splits": {"train": f"0:{len(self._episodes)}"},
            "data_path": f"data/{PLACE}",
            "video_path": None,
            "features": self.features,
        }

    def _flush(self) -> None:
        if not self._waiting:
            return
        if self._writer is None:
            path = self.root / "data" / _path(self._file)
            path.parent.mkdir(parents=True, exist_ok=True)
            self._writer = pq.ParquetWriter(path, self._schema, compression="snappy")
        self._writer.write_table(pa.Table.from_pylist(self._waiting, self._schema))
        self._waiting, self._waiting_bytes = [], 0

    def _end_file(self) -> None:
        self._flush()
        if self._writer is not None:
            self._writer.close()
            self._writer = None
            self._file, self._file_bytes = self._file + 1, 0


def _schema(features: Mapping[str, Feature]) -> pa.Schema:
    """With what the package `datasets` wants to know, so that it shows the pictures."""
    fields, told = [], {}
    for name, feature in features.items():
        dtype, (length, *_) = feature["dtype"], feature["shape"]
        kind, says = _TYPES[dtype], {"dtype": dtype, "_type": "Value"}
        if dtype == "image":
            says = {"_type": "Image"}
        elif feature["names"] is not None:
            kind = pa.list_(kind, length)
            says = {"feature": says, "length": length, "_type": "Sequence"}
        fields.append(pa.field(name, kind))
        told[name] = says
    return pa.schema(fields, {"huggingface": json.dumps({"info": {"features": told}})})


def _texts(name: str, texts: Sequence[str]) -> pa.Table:
    """As pandas writes a frame whose index is the text and whose one column is its number."""
    column = f"{name}_index"

    def of(field: str, kind: str, numpy: str) -> dict[str, Any]:
        return {
            "name": field,
            "field_name": field,
            "pandas_type": kind,
            "numpy_type": numpy,
            "metadata": None,
        }

    said = {
        "index_columns": [name],
        "column_indexes": [],
        "columns": [of(column, "int64", "int64"), of(name, "unicode", "object")],
        "creator": {"library": "pyarrow", "version": pa.__version__},
        "pandas_version": "2.0.0",
    }
    table = pa.table({column: pa.array(range(len(texts)), pa.int64()), name: list(texts)})
    return table.replace_schema_metadata({"pandas": json.dumps(said)})


def _flat(stats: Mapping[str, Stats]) -> dict[str, Any]:
    return {
        f"stats/{name}/{key}": one.tolist() for name, of in stats.items() for key, one in of.items()
    }


def _place(of: str, file: int) -> dict[str, int]:
    chunk, at = divmod(file, CHUNK_FILES)
    return {f"{of}/chunk_index": chunk, f"{of}/file_index": at}


def _path(file: int) -> str:
    chunk, at = divmod(file, CHUNK_FILES)
    return PLACE.format(chunk_index=chunk, file_index=at)


def _write(table: pa.Table, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path)
