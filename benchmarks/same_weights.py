"""The same random weights for two implementations: a checkpoint for one, bundles for the other.

The folder is laid out as the reference stores an Otter (config.json, and one safetensors file under
its names), written a tensor at a time. It knows sizes and files, not who reads them.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from math import prod
from pathlib import Path

from random_bundle import random_bundle

from otter_model.checkpoint import Checkpoint
from otter_model.config import DecoderConfig, OtterConfig, PerceiverConfig, Tokens, VisionConfig
from otter_model.errors import ConfigError
from otter_model.published import published
from otter_model.random_weights import RandomTensors
from otter_runtime.errors import UserError

TINY = "tiny"
WEIGHTS = "model.safetensors"


class SameWeights:
    """Random weights of the size called `name`, in files under `cache`.

    Raises UserError where there is no such size.
    """

    def __init__(self, name: str, cache: Path) -> None:
        try:
            self.config = smallest() if name == TINY else published(name)
        except ConfigError as error:
            raise UserError(f"{error}, or {TINY}") from None
        self.tensors = RandomTensors(self.config)
        self._name, self._cache = name, cache

    def checkpoint(self) -> Path:
        """The folder of config and float32 weights, written unless it is there."""
        folder = self._cache / f"{self._name}-checkpoint"
        if not (folder / WEIGHTS).exists():
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "config.json").write_text(json.dumps(self.config.to_dict(), indent=2))
            partial = folder / f"{WEIGHTS}.partial"
            write_safetensors(self.tensors, partial)
            partial.rename(folder / WEIGHTS)
        return folder

    def bundle(self, precision: str) -> Path:
        """The folder of the bundle in `precision`, exported unless it is there."""
        small: Callable[[], Checkpoint] | None = None
        name = self._name
        if name == TINY:
            # Not the tiny network of others' tests, whose bundles may lie in the same folder.
            name, small = f"reference-{TINY}", lambda: Checkpoint(self.config, self.tensors)
        return random_bundle(name, precision, self._cache, small)


def smallest() -> OtterConfig:
    """A tiny MPT-1B, as far as the reference lets it: resampler and cross-attention are fixed."""
    return OtterConfig(
        VisionConfig(image_size=28, dim=1024, layers=1, heads=16, mlp_dim=64),
        PerceiverConfig(),
        DecoderConfig(
            family="mpt1b",
            dim=64,
            layers=2,
            heads=4,
            mlp_dim=256,
            vocab=320,
            cross_attn_every=1,
            max_positions=128,
            qk_norm=True,
        ),
        Tokens(image=301, answer=302, endofchunk=300, pad=303),
    )


def write_safetensors(tensors: RandomTensors, path: Path) -> None:
    """Write `tensors` as one safetensors file of float32, with one of them in memory at a time."""
    header, end = {}, 0
    for name in tensors:
        begin, end = end, end + 4 * prod(tensors.shape(name))
        entry = {"dtype": "F32", "shape": tensors.shape(name), "data_offsets": [begin, end]}
        header[name] = entry
    told = json.dumps(header).encode()
    told += b" " * (-len(told) % 8)
    with path.open("wb") as file:
        file.write(len(told).to_bytes(8, "little") + told)
        for name in tensors:
            tensors[name].numpy().tofile(file)
