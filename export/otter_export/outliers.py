"""Outlying channels put into a network that has none, without changing what it computes.

Large language models have them: a few channels of a norm's output are tens of times as large as
the rest, and take the resolution of an int8 tensor with them. Small and random networks do not,
so nothing could be seen to fail on them. Here a share of each norm's channels is multiplied and
the linear layers behind it divided by the same factors: in fp32 the outputs stay as they were.

A norm whose reader is tied to the embedding (the last one of both MPTs) is left alone: its linear
layer cannot be divided without changing the embedding.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from otter_model.checkpoint import Checkpoint

# By their names in one block: norms, and every linear layer that reads what they put out.
BLOCKS: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...] = (
    (("layer_norm1",), ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")),
    (("layer_norm2",), ("mlp.fc1",)),
    (("norm_media", "norm_latents"), ("to_kv", "to_q")),
    (("feed_forward.0",), ("feed_forward.1",)),
    (("attn.norm",), ("attn.to_q",)),
    (("norm_1",), ("attn.Wqkv",)),
    (("norm_2",), ("ffn.up_proj",)),
    (("ln_1",), ("attn.Wqkv",)),
    (("ln_2",), ("mlp.mlp_up",)),
    (("input_layernorm",), ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")),
    (("post_attention_layernorm",), ("mlp.gate_proj", "mlp.up_proj")),
)
PERCEIVER_NORM, MEDIA_READER = "perceiver.norm", ".gated_cross_attn_layer.attn.to_kv"
FINAL_NORM, HEAD = "lang_encoder.model.norm", "lang_encoder.lm_head"


@dataclass(frozen=True)
class Site:
    """Norms that share their outlying channels, and the linear layers that read them."""

    norms: tuple[str, ...]
    linears: tuple[str, ...]


def injected(
    checkpoint: Checkpoint,
    share: float = 0.01,
    factors: tuple[float, float] = (30, 100),
    seed: int = 0,
) -> Checkpoint:
    """`checkpoint` with `share` of every norm's channels (one at least) `factors` times as large.

    Factors are drawn between the two, evenly on a logarithmic scale; the same `seed` gives the
    same channels and factors.
    """
    return replace(checkpoint, tensors=Injected(checkpoint.tensors, share, factors, seed))


def sites(names: Mapping[str, Tensor]) -> list[Site]:
    """Every place in the network where outliers can be put."""
    found = []
    for norms, linears in BLOCKS:
        first = f".{norms[0]}.weight"
        for block in (name.removesuffix(first) for name in names if name.endswith(first)):
            site = Site(
                tuple(f"{block}.{norm}" for norm in norms),
                tuple(f"{block}.{linear}" for linear in linears),
            )
            if all(f"{linear}.weight" in names for linear in site.linears):
                found.append(site)
    readers = [name.removesuffix(".weight") for name in names]
    media = tuple(name for name in readers if name.endswith(MEDIA_READER))
    found.append(Site((PERCEIVER_NORM,), media))
    if f"{HEAD}.weight" in names:
        found.append(Site((FINAL_NORM,), (HEAD,)))
    return found


class Injected(Mapping[str, Tensor]):
    """Tensors by name, float32 where they were changed; each is made when asked for."""

    def __init__(
        self,
        tensors: Mapping[str, Tensor],
        share: float,
        factors: tuple[float, float],
        seed: int,
    ) -> None:
        self._tensors = tensors
        self._changes: dict[str, Tensor] = {}
        for site in sites(tensors):
            channels = len(tensors[f"{site.norms[0]}.weight"])
            larger = _factors(f"{seed}/{site.norms[0]}", channels, share, factors)
            for norm in site.norms:
                self._changes[f"{norm}.weight"] = self._changes[f"{norm}.bias"] = larger
            for linear in site.linears:
                self._changes[f"{linear}.weight"] = 1 / larger  # along a row of (out, in)

    def __getitem__(self, name: str) -> Tensor:
        tensor = self._tensors[name]
        return tensor.float() * self._changes[name] if name in self._changes else tensor

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)


def _factors(seed: str, channels: int, share: float, factors: tuple[float, float]) -> Tensor:
    """(channels,): 1, but for the outlying ones."""
    random = np.random.default_rng(zlib.crc32(seed.encode()))
    count = max(1, round(share * channels))
    larger = np.ones(channels, np.float32)
    chosen = random.choice(channels, count, replace=False)
    larger[chosen] = np.exp(random.uniform(np.log(factors[0]), np.log(factors[1]), count))
    return torch.from_numpy(larger)
