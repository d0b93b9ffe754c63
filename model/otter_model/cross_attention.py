"""How the language model sees: a gated cross-attention block in front of some decoder layers.

A token attends the latents of one medium, the last that its text mentioned (`media_index`,
1-based). A token that has no medium yet (index 0) gets exactly nothing from the attention, but the
gated feed-forward still runs on it, as in the reference.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from otter_model.attention import attend, split_heads
from otter_model.config import DecoderConfig
from otter_model.feed_forward import feed_forward


@dataclass(frozen=True)
class Media:
    """Keys and values of all media of a prompt, per gated layer (B or 1,heads,M·L,head_dim)."""

    k: tuple[Tensor, ...]
    v: tuple[Tensor, ...]
    latents: int  # L, of one medium

    @property
    def count(self) -> int:
        """M, how many media each row has."""
        return self.k[0].shape[2] // self.latents

    def rows(self, index: Tensor) -> Media:
        """The media of the batch rows `index` (n,) int64, repeated or reordered."""
        return Media(tuple(k[index] for k in self.k), tuple(v[index] for v in self.v), self.latents)


@dataclass(frozen=True)
class Sight:
    """Which latents each token sees; computed once per decode call, used by every gated layer."""

    visible: Tensor  # (B, n, 1) 1.0 or 0.0: does the token have a medium at all
    bias: Tensor | None  # (B, 1, n, M·L): 0 where seen, the lowest finite number elsewhere

    @staticmethod
    def of(media_index: Tensor, media: Media) -> Sight:
        """media_index (B,n) int64. An index beyond the media attends all of them uniformly.

        That is what the reference computes (a row of equal, lowest scores); `forward` and the
        generators refuse prompts that would get there, only a generated `<image>` can.
        """
        dtype = media.k[0].dtype
        visible = (media_index > 0).to(dtype).unsqueeze(-1)
        if media.count == 1 and int(media_index.max()) <= 1:
            return Sight(visible, None)
        owner = torch.arange(1, media.count + 1, device=media_index.device)
        hidden = media_index.unsqueeze(-1) != owner.repeat_interleave(media.latents)
        bias = torch.zeros(hidden.shape, dtype=dtype, device=hidden.device)
        return Sight(visible, bias.masked_fill_(hidden, torch.finfo(dtype).min).unsqueeze(1))


class MaskedCrossAttention(nn.Module):
    def __init__(self, config: DecoderConfig, media_dim: int) -> None:
        super().__init__()
        inner = config.cross_heads * config.cross_head_dim
        self.heads = config.cross_heads
        self.scale = config.cross_head_dim**-0.5
        self.norm = nn.LayerNorm(config.dim)
        self.to_q = nn.Linear(config.dim, inner, bias=False)
        self.to_kv = nn.Linear(media_dim, 2 * inner, bias=False)
        self.to_out = nn.Linear(inner, config.dim, bias=False)

    def media(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        """latents (B,M·L,D) -> K and V (B,heads,M·L,head_dim)."""
        k, v = self.to_kv(latents).chunk(2, dim=-1)
        return split_heads(k, self.heads), split_heads(v, self.heads)

    def forward(self, x: Tensor, k: Tensor, v: Tensor, sight: Sight) -> Tensor:
        """x (B,n,dim) -> (B,n,dim); rows without a medium hold something meaningless, not zero."""
        q = split_heads(self.to_q(self.norm(x)) * self.scale, self.heads)
        out: Tensor = self.to_out(attend(q, k, v, sight.bias))
        return out


class GatedCrossAttention(nn.Module):
    def __init__(self, config: DecoderConfig, media_dim: int) -> None:
        super().__init__()
        self.attn = MaskedCrossAttention(config, media_dim)
        self.attn_gate = nn.Parameter(torch.zeros(1))
        self.feed_forward = feed_forward(config.dim, config.cross_ff_mult)
        self.ff_gate = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor, k: Tensor, v: Tensor, sight: Sight) -> Tensor:
        """x (B,n,dim), K and V (B or 1,heads,M·L,head_dim) -> x."""
        # The gate carries the 0 of sightless tokens: adding 0·finite is exactly adding nothing.
        gate = self.attn_gate.tanh() * sight.visible
        x = torch.addcmul(x, gate, self.attn(x, k, v, sight))
        return torch.addcmul(x, self.ff_gate.tanh(), self.feed_forward(x))
