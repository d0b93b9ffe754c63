"""Weights on disk: one file, or a folder with one file or with shards and their index."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from otter_model.errors import CheckpointError
from otter_model.safetensors_file import read_safetensors
from otter_model.tensors import Entries, listed
from otter_model.torch_file import read_torch_file

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
# In this order; where a folder has several, the first counts.
MODEL_FILES = (INDEX, WEIGHTS, "pytorch_model.bin.index.json", "pytorch_model.bin")
_READERS = {".safetensors": read_safetensors} | dict.fromkeys(
    (".bin", ".pt", ".pth"), read_torch_file
)

# Buffers that older versions of transformers stored; they are recomputed, never read.
_IGNORED = (".embeddings.position_ids", ".rotary_emb.inv_freq", ".attention.bias")
# The reference keeps its layers twice under these names; the second copy is dropped.
_DUPLICATES = ("lang_encoder.gated_cross_attn_layers.", "lang_encoder.old_decoder_blocks.")


def open_weights(path: Path, names: Sequence[str] = MODEL_FILES) -> Entries:
    """The tensors of a file, or of the first of `names` that the folder `path` holds.

    Buffers that are recomputed and the reference's second copies are left out. Raises
    CheckpointError.
    """
    entries = _file(_chosen(path, names)) if path.is_dir() else _file(path)
    return {name: entry for name, entry in entries.items() if _wanted(name)}


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object. Raises CheckpointError naming the file."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise CheckpointError(f"{path} does not exist; give the folder of a checkpoint") from None
    except ValueError as error:
        raise CheckpointError(f"{path} is not valid JSON ({error}); fetch it again") from None
    if not isinstance(value, dict):
        raise CheckpointError(f"{path} is not a JSON object; fetch it again")
    return value


def _chosen(folder: Path, names: Sequence[str]) -> Path:
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise CheckpointError(
        f"{folder} should hold one of {', '.join(names)}, but has none; "
        "fetch the weights, or convert them to safetensors"
    )


def _file(path: Path) -> Entries:
    if path.suffix == ".json":
        return _sharded(path)
    if path.suffix not in _READERS:
        raise CheckpointError(
            f"{path} should be a file of weights ({', '.join(_READERS)}) or a folder with one; "
            "give one of those"
        )
    return _READERS[path.suffix](path)


def _sharded(index: Path) -> Entries:
    """The tensors of all shards; each shard must hold what the index says, and nothing else."""
    weight_map, entries = _weight_map(index), Entries()
    for file in sorted(set(weight_map.values())):
        shard = _file(_shard(index, file))
        said = {name for name, at in weight_map.items() if at == file}
        _require_same(index, file, said, {name for name in shard if _wanted(name)})
        entries |= shard
    return entries


def _require_same(index: Path, file: str, said: set[str], found: set[str]) -> None:
    wanted = {name for name in said if _wanted(name)}
    for what, names in (("lacks", wanted - found), ("has besides", found - wanted)):
        if names:
            raise CheckpointError(
                f"the shard {file} {what} {listed(names)}, by {index}; fetch both again"
            )


def _weight_map(index: Path) -> dict[str, str]:
    weight_map = read_json(index).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise CheckpointError(f"{index} has no weight_map; fetch it again")
    return weight_map


def _shard(index: Path, file: str) -> Path:
    folder, path = index.parent, index.parent / file
    inside = path.resolve().is_relative_to(folder.resolve())
    if not inside or path.suffix not in _READERS or not path.is_file():
        raise CheckpointError(
            f"{index.name} names the shard {file!r}, which {folder} does not hold; fetch it"
        )
    return path


def _wanted(name: str) -> bool:
    return not name.endswith(_IGNORED) and not name.startswith(_DUPLICATES)
