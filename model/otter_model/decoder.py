"""What the decoder families share: the interface of a language model, its cache, its gated layers.

A language model here is an embedding, a list of layers and a head; where tokens are (ALiBi, RoPE,
padding) is a `Geometry`, computed once per call.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, cast

import torch
from torch import Tensor, nn

from otter_model.config import DecoderConfig
from otter_model.cross_attention import GatedCrossAttention


@dataclass(frozen=True)
class Cache:
    """Self-attention keys and values of the tokens so far; a value, never changed in place."""

    kv: tuple[tuple[Tensor, Tensor], ...]  # per layer K, V (B, heads, n, head_dim), RoPE applied
    mask: Tensor | None = None  # (B, n) bool, False for pads; None: no pads

    @property
    def length(self) -> int:
        """How many tokens are held."""
        return self.kv[0][0].shape[2]

    def rows(self, index: Tensor) -> Cache:
        """The batch rows `index` (n,) int64, repeated or reordered."""
        mask = None if self.mask is None else self.mask[index]
        return Cache(tuple((k[index], v[index]) for k, v in self.kv), mask)

    def truncate(self, length: int) -> Cache:
        """The first `length` tokens."""
        mask = None if self.mask is None else self.mask[:, :length]
        return Cache(tuple((k[:, :, :length], v[:, :, :length]) for k, v in self.kv), mask)


@dataclass(frozen=True)
class Geometry:
    """Where the new tokens stand and which earlier ones each of them sees."""

    bias: Tensor | None  # additive, broadcastable to (B, heads, n, past + n)
    rotary: tuple[Tensor, Tensor] | None = None  # cos, sin (n, head_dim)


def geometry_bias(
    x: Tensor, past: int, mask: Tensor | None, slopes: Tensor | None
) -> Tensor | None:
    """Causality, padding and ALiBi as one additive bias for new tokens x (B,n,dim).

    mask (B,past+n) bool or None; slopes (heads,) float or None. ALiBi is -slope·(query - key).
    """
    n = x.shape[1]
    if slopes is None and mask is None and n == 1:
        return None
    keys = torch.arange(past + n, device=x.device)
    behind = (keys[past:, None] - keys).float()  # (n, past + n); float16 would round distances
    hidden = behind < 0
    bias = behind.new_zeros(()) if slopes is None else -slopes[:, None, None] * behind
    if mask is not None:
        hidden = hidden | ~mask[:, None, None]  # (B, 1, n, past + n)
    # A finite floor: a pad that sees nothing gets a uniform row instead of NaN.
    return bias.to(x.dtype).masked_fill(hidden, torch.finfo(x.dtype).min)


class DecoderBlock(Protocol):
    """One layer of a language model."""

    def __call__(
        self, x: Tensor, geometry: Geometry, past: tuple[Tensor, Tensor] | None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """x (B,n,dim), past K and V -> x, K and V of past and new tokens."""


class Layer(nn.Module):
    """A decoder block and, in front of it, perhaps a gated cross-attention."""

    def __init__(self, config: DecoderConfig, index: int, block: nn.Module, media_dim: int) -> None:
        super().__init__()
        gated = index in config.gated_layers
        self.gated_cross_attn_layer = GatedCrossAttention(config, media_dim) if gated else None
        self.decoder_layer = block

    @property
    def block(self) -> DecoderBlock:
        return cast(DecoderBlock, self.decoder_layer)


class LanguageModel(Protocol):
    """What `Otter` needs of a family."""

    @property
    def layers(self) -> list[Layer]: ...

    def embed(self, ids: Tensor) -> Tensor:
        """(B,n) int64 -> (B,n,dim)."""

    def head(self, x: Tensor) -> Tensor:
        """Final norm and output projection, (B,n,dim) -> logits (B,n,vocab)."""

    def geometry(self, x: Tensor, past: int, mask: Tensor | None) -> Geometry:
        """For new tokens x (B,n,dim) after `past` ones; mask (B,past+n) bool or None."""


def extend(past: tuple[Tensor, Tensor] | None, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """Past keys and values with the new ones behind."""
    if past is None:
        return k, v
    return torch.cat([past[0], k], dim=2), torch.cat([past[1], v], dim=2)
