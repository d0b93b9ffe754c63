"""The two MosaicML language models: MPT-7B (`mpt`) and MosaicGPT-1B (`mpt1b`).

They differ in names and in the second's layer norms over the whole query and key. Both: fused QKV,
ALiBi, no biases anywhere, layer norms with a weight only, erf-GELU, tied head.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from otter_model.attention import attend, split_heads
from otter_model.config import DecoderConfig, Family
from otter_model.decoder import Geometry, Layer, extend, geometry_bias


@dataclass(frozen=True)
class MptNames:
    """How a family calls its parts in the state dict."""

    norm_attn: str
    norm_mlp: str
    mlp: str
    up: str
    down: str
    final_norm: str


NAMES: dict[Family, MptNames] = {
    "mpt": MptNames("norm_1", "norm_2", "ffn", "up_proj", "down_proj", "norm_f"),
    "mpt1b": MptNames("ln_1", "ln_2", "mlp", "mlp_up", "mlp_down", "ln_f"),
}


def alibi_slopes(heads: int, bias_max: float) -> Tensor:
    """(heads,) float32: 2^(-bias_max·h/H); MPT's interleaving where H is no power of two."""
    full = 2 ** math.ceil(math.log2(heads))
    slopes = torch.exp2(-torch.arange(1, full + 1, dtype=torch.float32) * (bias_max / full))
    if full != heads:
        slopes = torch.cat([slopes[1::2], slopes[::2]])[:heads]
    return slopes


def _norm(config: DecoderConfig) -> nn.LayerNorm:
    return nn.LayerNorm(config.dim, eps=config.norm_eps, bias=False)


class MptAttention(nn.Module):
    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.scale = config.head_dim**-0.5
        self.Wqkv = nn.Linear(config.dim, 3 * config.dim, bias=False)
        self.out_proj = nn.Linear(config.dim, config.dim, bias=False)
        self.q_ln = _norm(config) if config.qk_norm else None
        self.k_ln = _norm(config) if config.qk_norm else None

    def forward(
        self, x: Tensor, geometry: Geometry, past: tuple[Tensor, Tensor] | None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        q, k, v = self.Wqkv(x).chunk(3, dim=-1)
        if self.q_ln is not None and self.k_ln is not None:
            q, k = self.q_ln(q), self.k_ln(k)
        q = split_heads(q * self.scale, self.heads)
        kv = extend(past, split_heads(k, self.heads), split_heads(v, self.heads))
        out: Tensor = self.out_proj(attend(q, *kv, geometry.bias))
        return out, kv


class MptBlock(nn.Module):
    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.names = names = NAMES[config.family]
        self.add_module(names.norm_attn, _norm(config))
        self.attn = MptAttention(config)
        self.add_module(names.norm_mlp, _norm(config))
        up = nn.Linear(config.dim, config.mlp_dim, bias=False)
        down = nn.Linear(config.mlp_dim, config.dim, bias=False)
        self.add_module(names.mlp, nn.ModuleDict({names.up: up, names.down: down}))

    def forward(
        self, x: Tensor, geometry: Geometry, past: tuple[Tensor, Tensor] | None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        names = self.names
        seen, kv = self.attn(self.get_submodule(names.norm_attn)(x), geometry, past)
        x = x + seen
        mlp = self.get_submodule(names.mlp)
        hidden = mlp.get_submodule(names.up)(self.get_submodule(names.norm_mlp)(x))
        x = x + mlp.get_submodule(names.down)(functional.gelu(hidden))
        return x, kv


class Mpt(nn.Module):
    """`lang_encoder` of the two families."""

    def __init__(self, config: DecoderConfig, media_dim: int) -> None:
        super().__init__()
        self.heads, self.alibi_bias_max = config.heads, config.alibi_bias_max
        self.final_norm = NAMES[config.family].final_norm
        blocks = [Layer(config, i, MptBlock(config), media_dim) for i in range(config.layers)]
        parts = {
            "wte": nn.Embedding(config.vocab, config.dim),
            "blocks": nn.ModuleList(blocks),
            self.final_norm: _norm(config),
        }
        self.transformer = nn.ModuleDict(parts)

    @property
    def layers(self) -> list[Layer]:
        return list(cast(Iterable[Layer], self.transformer["blocks"]))

    def embed(self, ids: Tensor) -> Tensor:
        x: Tensor = self.transformer["wte"](ids)
        return x

    def head(self, x: Tensor) -> Tensor:
        x = self.transformer[self.final_norm](x)
        return functional.linear(x, cast(Tensor, self.transformer["wte"].weight))

    def geometry(self, x: Tensor, past: int, mask: Tensor | None) -> Geometry:
        slopes = alibi_slopes(self.heads, self.alibi_bias_max).to(x)
        return Geometry(geometry_bias(x, past, mask, slopes))
