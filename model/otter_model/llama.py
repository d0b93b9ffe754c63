"""The LLaMA language model: RMS norms, rotary positions, SwiGLU, untied head, no biases."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from otter_model.attention import attend, split_heads
from otter_model.config import DecoderConfig
from otter_model.decoder import Geometry, Layer, extend, geometry_bias


def rotary(positions: Tensor, head_dim: int, theta: float) -> tuple[Tensor, Tensor]:
    """positions (n,) float32 -> cos, sin (n,head_dim); the first half pairs with the second."""
    frequencies = theta ** (-torch.arange(0, head_dim, 2).to(positions) / head_dim)
    angles = torch.outer(positions, frequencies).repeat(1, 2)
    return angles.cos(), angles.sin()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """x (B,heads,n,head_dim) turned to its positions."""
    first, second = x.chunk(2, dim=-1)
    return x * cos + torch.cat([-second, first], dim=-1) * sin


class LlamaAttention(nn.Module):
    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.scale = config.head_dim**-0.5
        self.q_proj = nn.Linear(config.dim, config.dim, bias=False)
        self.k_proj = nn.Linear(config.dim, config.dim, bias=False)
        self.v_proj = nn.Linear(config.dim, config.dim, bias=False)
        self.o_proj = nn.Linear(config.dim, config.dim, bias=False)

    def forward(
        self, x: Tensor, geometry: Geometry, past: tuple[Tensor, Tensor] | None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        assert geometry.rotary is not None  # Llama.geometry always sets it
        q = rotate(split_heads(self.q_proj(x) * self.scale, self.heads), *geometry.rotary)
        k = rotate(split_heads(self.k_proj(x), self.heads), *geometry.rotary)
        kv = extend(past, k, split_heads(self.v_proj(x), self.heads))
        out: Tensor = self.o_proj(attend(q, *kv, geometry.bias))
        return out, kv


class LlamaMlp(nn.Module):
    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(config.dim, config.mlp_dim, bias=False)
        self.up_proj = nn.Linear(config.dim, config.mlp_dim, bias=False)
        self.down_proj = nn.Linear(config.mlp_dim, config.dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.down_proj(functional.silu(self.gate_proj(x)) * self.up_proj(x))
        return out


class LlamaBlock(nn.Module):
    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.input_layernorm = nn.RMSNorm(config.dim, eps=config.norm_eps)
        self.self_attn = LlamaAttention(config)
        self.post_attention_layernorm = nn.RMSNorm(config.dim, eps=config.norm_eps)
        self.mlp = LlamaMlp(config)

    def forward(
        self, x: Tensor, geometry: Geometry, past: tuple[Tensor, Tensor] | None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        seen, kv = self.self_attn(self.input_layernorm(x), geometry, past)
        x = x + seen
        x = x + self.mlp(self.post_attention_layernorm(x))
        return x, kv


class LlamaModel(nn.Module):
    def __init__(self, config: DecoderConfig, media_dim: int) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(config.vocab, config.dim)
        self.layers = nn.ModuleList(
            Layer(config, i, LlamaBlock(config), media_dim) for i in range(config.layers)
        )
        self.norm = nn.RMSNorm(config.dim, eps=config.norm_eps)


class Llama(nn.Module):
    """`lang_encoder` of the family."""

    def __init__(self, config: DecoderConfig, media_dim: int) -> None:
        super().__init__()
        self.head_dim = config.head_dim
        self.theta = config.rope_theta
        self.model = LlamaModel(config, media_dim)
        self.lm_head = nn.Linear(config.dim, config.vocab, bias=False)

    @property
    def layers(self) -> list[Layer]:
        return list(self.model.layers)  # type: ignore[arg-type]

    def embed(self, ids: Tensor) -> Tensor:
        x: Tensor = self.model.embed_tokens(ids)
        return x

    def head(self, x: Tensor) -> Tensor:
        logits: Tensor = self.lm_head(self.model.norm(x))
        return logits

    def geometry(self, x: Tensor, past: int, mask: Tensor | None) -> Geometry:
        positions = torch.arange(past, past + x.shape[1], device=x.device, dtype=torch.float32)
        cos, sin = rotary(positions, self.head_dim, self.theta)
        return Geometry(geometry_bias(x, past, mask, None), (cos.to(x), sin.to(x)))
