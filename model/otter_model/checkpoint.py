"""Checkpoints on disk: in each layout that people have them, read tensor by tensor.

A Hugging Face Otter folder; the trained part of an Otter over such a folder; an OpenFlamingo over
CLIP and a language model; LoRA over any of them. Tensors are read one at a time, when asked for: a
full-size model need never be in memory as a whole.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from otter_model.config import OtterConfig
from otter_model.errors import CheckpointError
from otter_model.flamingo import open_flamingo
from otter_model.lora import Lora
from otter_model.otter import Otter
from otter_model.published import published
from otter_model.random_weights import RandomTensors
from otter_model.tensors import Entries, Tensors, listed
from otter_model.trained_part import lay_over
from otter_model.weights import INDEX, WEIGHTS, open_weights, read_json

__all__ = [
    "INDEX",
    "WEIGHTS",
    "Checkpoint",
    "embedding_name",
    "load",
    "open_checkpoint",
    "random_checkpoint",
    "save",
]


# In the order of preference; the latter two want converting.
TOKENIZERS = ("tokenizer.json", "tokenizer.model", "merges.txt")


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
        _check_shape(name, tuple(shape), tuple(tensor.shape))
        return tensor


def open_checkpoint(
    path: str | Path,
    overrides: Mapping[str, Any] | None = None,
    *,
    base: str | Path | None = None,
    clip: str | Path | None = None,
    language: str | Path | None = None,
    lora: str | Path | None = None,
) -> Checkpoint:
    """Opens a checkpoint; reads configs, names and shapes, no weights.

    `path` is a folder of the Hugging Face Otter layout; or a file with the trained part of an Otter
    whose whole is the folder `base`; or an OpenFlamingo's checkpoint.pt, which takes `clip` (a
    folder or file) and the folder `language`. `lora` is the folder of a peft adapter over any of
    them.

    `overrides` is an `otter_edge` block for a config.json that has none. The number of embedding
    rows is taken from the weights (added tokens are often missing from the published configs).
    Raises CheckpointError or ConfigError, naming every tensor that is missing, unknown or
    misshapen.
    """
    source = Path(path)
    if clip is not None and language is not None and base is None:
        config, entries = open_flamingo(source, Path(clip), Path(language), overrides)
        tokenizer = tokenizer_in(Path(language))
    elif clip is None and language is None:
        folder = source if base is None else Path(base)
        config, entries = _open_otter(source, folder, overrides)
        tokenizer = tokenizer_in(folder)
    else:
        raise CheckpointError(
            "an OpenFlamingo takes both its CLIP and its language model, and no base, but "
            f"base={base}, clip={clip}, language={language}; give clip and language, or base alone"
        )
    if lora is not None:
        entries = Lora.open(Path(lora)).merge(entries)
    if (embedding := embedding_name(config)) in entries:
        config = config.with_vocab(entries[embedding].shape[0])
    _require_complete(config, entries)
    return Checkpoint(config, Tensors(entries), tokenizer)


def tokenizer_in(folder: Path) -> Path | None:
    """The tokenizer's file in a checkpoint's folder, whatever kind it is of."""
    return next((folder / name for name in TOKENIZERS if (folder / name).is_file()), None)


def _open_otter(
    source: Path, folder: Path, overrides: Mapping[str, Any] | None
) -> tuple[OtterConfig, Entries]:
    """A whole Otter in `folder`, with the trained part `source` over it if that is another."""
    if source == folder and source.is_file():
        raise CheckpointError(
            f"{source} is one file, so it can only be the trained part of a checkpoint; give the "
            "folder that it was trained from as base, or an OpenFlamingo's clip and language"
        )
    raw = read_json(folder / "config.json")
    if overrides is not None:
        raw = {**raw, "otter_edge": {**raw.get("otter_edge", {}), **overrides}}
    config, entries = OtterConfig.from_dict(raw), open_weights(folder)
    if source != folder:
        entries = lay_over(entries, open_weights(source), source.name)
    return config, entries


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


def _require_complete(config: OtterConfig, entries: Entries) -> None:
    """Raises CheckpointError that names every tensor amiss."""
    expected = RandomTensors(config)
    _check_names(set(expected), set(entries))
    for name in expected:
        _check_shape(name, expected.shape(name), entries[name].shape)
        if not entries[name].floating:
            raise CheckpointError(
                f"{name} should be floating-point, but holds integers; "
                "give the checkpoint that was not quantized yet"
            )


def _check_names(expected: set[str], found: set[str]) -> None:
    for what, names in (("lacks", expected - found), ("has the unknown", found - expected)):
        if names:
            raise CheckpointError(
                f"the checkpoint {what} tensor {listed(names)}; "
                "config.json and weights do not belong together"
            )


def _check_shape(name: str, expected: tuple[int, ...], found: tuple[int, ...]) -> None:
    if found != expected:
        raise CheckpointError(
            f"{name} should have shape {expected} after config.json, "
            f"but has {found}; config.json and weights do not belong together"
        )
