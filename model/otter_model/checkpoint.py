"""Checkpoints on disk: a folder with config.json and safetensors, one file or shards with an index.

Tensors are read one at a time, when asked for: a full-size model need never be in memory as a
whole.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from otter_model.config import OtterConfig
from otter_model.errors import CheckpointError
from otter_model.otter import Otter
from otter_model.published import published
from otter_model.random_weights import RandomTensors

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"

# Buffers that older versions of transformers stored; they are recomputed, never read.
_IGNORED = (".embeddings.position_ids", ".rotary_emb.inv_freq", ".attention.bias")
# The reference keeps its layers twice under these names; the second copy is dropped.
_DUPLICATES = ("lang_encoder.gated_cross_attn_layers.", "lang_encoder.old_decoder_blocks.")


class TensorFiles(Mapping[str, Tensor]):
    """Tensors of safetensors files by name, read from disk at each access, in the stored dtype."""

    def __init__(self, file_of: Mapping[str, Path]) -> None:
        self._file_of = {name: file_of[name] for name in sorted(file_of) if _wanted(name)}

    def __getitem__(self, name: str) -> Tensor:
        with _open(self._file_of[name]) as file:
            tensor: Tensor = file.get_tensor(name)
        return tensor

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape alone, without reading the data."""
        with _open(self._file_of[name]) as file:
            return tuple(file.get_slice(name).get_shape())

    def __iter__(self) -> Iterator[str]:
        return iter(self._file_of)

    def __len__(self) -> int:
        return len(self._file_of)


@dataclass(frozen=True)
class Checkpoint:
    """A network that is not in memory: config, tensors by name, perhaps a tokenizer."""

    config: OtterConfig
    tensors: Mapping[str, Tensor]
    tokenizer: Path | None = None

    def build(self, dtype: torch.dtype = torch.float32) -> Otter:
        """The network in memory, in `dtype`, in evaluation mode.

        Raises CheckpointError that names a tensor which is missing, unknown or misshapen.
        """
        with torch.device("meta"):
            otter = Otter(self.config)
        expected = otter.state_dict()
        _check_names(set(expected), set(self.tensors))
        state = {name: self._tensor(name, meta.shape).to(dtype) for name, meta in expected.items()}
        otter.load_state_dict(state, assign=True)
        return otter.eval().requires_grad_()

    def _tensor(self, name: str, shape: torch.Size) -> Tensor:
        tensor = self.tensors[name]
        if tensor.shape != shape:
            raise CheckpointError(
                f"{name} should have shape {tuple(shape)} after config.json, "
                f"but has {tuple(tensor.shape)}; config.json and weights do not belong together"
            )
        return tensor


def open_checkpoint(path: str | Path, overrides: Mapping[str, Any] | None = None) -> Checkpoint:
    """Opens a folder of the Hugging Face Otter layout; reads config.json and names, no weights.

    `overrides` is an `otter_edge` block for a config.json that has none. The number of embedding
    rows is taken from the weights (added tokens are often missing from the published configs).
    Raises CheckpointError or ConfigError.
    """
    folder = Path(path)
    raw = _read_json(folder / "config.json")
    if overrides is not None:
        raw = {**raw, "otter_edge": {**raw.get("otter_edge", {}), **overrides}}
    config = OtterConfig.from_dict(raw)
    tensors = TensorFiles(_files(folder))
    embedding = embedding_name(config)
    if embedding in tensors:
        config = config.with_vocab(tensors.shape(embedding)[0])
    tokenizer = folder / "tokenizer.json"
    return Checkpoint(config, tensors, tokenizer if tokenizer.is_file() else None)


def random_checkpoint(name: str, seed: int = 0) -> Checkpoint:
    """A published architecture (`published.PUBLISHED`) at full size with random float32 weights.

    Nothing is generated before a tensor is asked for. Raises ConfigError for an unknown name.
    """
    config = published(name)
    return Checkpoint(config, RandomTensors(config, seed))


def load(path: str | Path, overrides: Mapping[str, Any] | None = None) -> Otter:
    """The network in the folder `path`, in memory in float32, in evaluation mode."""
    return open_checkpoint(path, overrides).build()


def save(otter: Otter, path: str | Path) -> None:
    """Writes config.json and one model.safetensors, in the parameters' dtype, to a folder."""
    folder = Path(path)
    folder.mkdir(parents=True, exist_ok=True)
    config = json.dumps(otter.config.to_dict(), indent=2)
    (folder / "config.json").write_text(config + "\n", encoding="utf-8")
    tensors = {name: tensor.contiguous() for name, tensor in otter.state_dict().items()}
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})


def embedding_name(config: OtterConfig) -> str:
    """The name of the token embedding's tensor."""
    if config.decoder.family == "llama":
        return "lang_encoder.model.embed_tokens.weight"
    return "lang_encoder.transformer.wte.weight"


def _files(folder: Path) -> dict[str, Path]:
    """Which file holds which tensor."""
    index = folder / INDEX
    if index.is_file():
        weight_map: dict[str, str] = _read_json(index).get("weight_map", {})
        return {name: _shard(folder, file) for name, file in weight_map.items()}
    files = [folder / WEIGHTS] if (folder / WEIGHTS).is_file() else []
    if not files:
        raise CheckpointError(
            f"{folder} should hold {WEIGHTS} or {INDEX}, but has neither; "
            "convert .bin or .pt weights to safetensors first"
        )
    return {name: path for path in files for name in _names(path)}


def _shard(folder: Path, file: str) -> Path:
    path = folder / file
    if not path.resolve().is_relative_to(folder.resolve()) or not path.is_file():
        raise CheckpointError(
            f"{INDEX} names the shard {file!r}, which {folder} does not hold; fetch it"
        )
    return path


def _names(path: Path) -> list[str]:
    with _open(path) as file:
        return list(file.keys())


def _open(path: Path) -> Any:
    try:
        return safe_open(path, framework="pt")
    except (OSError, SafetensorError) as error:
        message = f"{path} is not a readable safetensors file ({error}); fetch it again"
        raise CheckpointError(message) from None


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(f"{path} does not exist; give the folder of a checkpoint") from None
    except json.JSONDecodeError as error:
        raise CheckpointError(f"{path} is not valid JSON ({error}); fetch it again") from None
    return value


def _wanted(name: str) -> bool:
    return not name.endswith(_IGNORED) and not name.startswith(_DUPLICATES)


def _check_names(expected: set[str], found: set[str]) -> None:
    for what, names in (("lacks", expected - found), ("has the unknown", found - expected)):
        if names:
            raise CheckpointError(
                f"the checkpoint {what} tensor {min(names)!r} (and {len(names) - 1} more); "
                "config.json and weights do not belong together"
            )
