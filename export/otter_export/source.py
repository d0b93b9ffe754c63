"""Which files a checkpoint is made of: the folder or file given, and what lies under or over it.

Their hashes go into the manifest, so that a bundle can be told apart from one of other weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from otter_model.checkpoint import Checkpoint, open_checkpoint
from otter_runtime.bundle import file_sha256, model_hash


@dataclass(frozen=True)
class Source:
    """The inputs of `otter_model.checkpoint.open_checkpoint`, by its names for them."""

    checkpoint: Path
    others: Mapping[str, Path]  # any of base, clip, language, lora

    def open(self) -> Checkpoint:
        """Raises CheckpointError or ConfigError."""
        return open_checkpoint(self.checkpoint, **self.others)  # type: ignore[arg-type]

    def describe(self) -> dict[str, Any]:
        """Names, and one sha256 over all files, for the manifest."""
        name = self.checkpoint.resolve().name
        hashes = {path.name: file_sha256(path) for path in _files(self.checkpoint)}
        for role, path in self.others.items():
            hashes |= {f"{role}/{file.name}": file_sha256(file) for file in _files(path)}
        kind = "folder" if self.checkpoint.is_dir() else "file"
        others = {role: path.resolve().name for role, path in self.others.items()}
        return {kind: name, **others, "sha256": model_hash(hashes)}


def _files(path: Path) -> list[Path]:
    """A file itself; of a folder what may have been read: JSON, and safetensors before `.bin`."""
    if not path.is_dir():
        return [path]
    files = sorted(path.iterdir())
    weights = [file for file in files if file.suffix == ".safetensors"]
    weights = weights or [file for file in files if file.suffix == ".bin"]
    return sorted([*(file for file in files if file.suffix == ".json"), *weights])
