"""Random weights for any Otter, one tensor at a time: full-size models without their memory.

Each tensor depends on (seed, its name) alone, so the order in which they are asked for does not
matter. The scales keep activations near unit variance (a matrix gets 1/√fan_in), logits at a
standard deviation near 1, and the pictures important (blanking them moves logits by 0.3 to 0.8).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping

import numpy as np
import torch
from torch import Tensor

from otter_model.config import OtterConfig
from otter_model.otter import Otter

# Queries that meet media are made this much longer: attention then picks some patches and latents
# instead of averaging all of them, which would hide the picture. For the same reason the gate of
# the attention is opened wider than the feed-forward's, which moves all tokens alike.
_QUERY_GAIN = 4.0
_GATES = {"attn_gate": 1.0, "ff_gate": 0.25}
_QK_NORM = 1.7  # weight of q_ln and k_ln, so that tokens pick each other too

# Vectors that are added to unit-variance features.
_EMBEDDINGS = {
    "class_embedding": 1.0,
    "position_embedding.weight": 0.5,
    "perceiver.latents": 1.0,
    "perceiver.frame_embs": 0.5,
}


class RandomTensors(Mapping[str, Tensor]):
    """The tensors of a network by name, float32, generated anew at each access."""

    def __init__(self, config: OtterConfig, seed: int = 0) -> None:
        with torch.device("meta"):
            state = Otter(config).state_dict()
        self._shapes = {name: tuple(tensor.shape) for name, tensor in state.items()}
        self._seed = seed

    def __getitem__(self, name: str) -> Tensor:
        shape = self._shapes[name]
        mean, deviation = _distribution(name, shape)
        values = _generator(self._seed, name).standard_normal(shape, dtype=np.float32)
        values *= np.float32(deviation)
        if mean:
            values += np.float32(mean)
        return torch.from_numpy(values)

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape alone, without generating."""
        return self._shapes[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._shapes)

    def __len__(self) -> int:
        return len(self._shapes)


def _generator(seed: int, name: str) -> np.random.Generator:
    digest = hashlib.blake2b(f"{seed}/{name}".encode(), digest_size=16).digest()
    return np.random.Generator(np.random.SFC64(int.from_bytes(digest, "little")))


def _distribution(name: str, shape: tuple[int, ...]) -> tuple[float, float]:
    """Mean and standard deviation of a tensor's values."""
    if name.endswith("_gate"):
        return _GATES[name.rsplit(".", 1)[1]], 0.05
    for ending, deviation in _EMBEDDINGS.items():
        if name.endswith(ending):
            return 0.0, deviation
    if name.endswith(".bias"):
        return 0.0, 0.02
    if len(shape) == 1:  # the weight of a norm
        return _QK_NORM if name.endswith((".q_ln.weight", ".k_ln.weight")) else 1.0, 0.1
    gain = _QUERY_GAIN if name.endswith(".to_q.weight") else 1.0
    # Rows of an embedding or head meet a unit-variance vector of their own length: the same rule.
    return 0.0, gain * float(np.prod(shape[1:])) ** -0.5
