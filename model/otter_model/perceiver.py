"""The resampler: features of one medium (a picture, or all frames of a video) in, latents out.

Media do not know of each other; frames of one medium are simply concatenated, told apart only by
the frame embedding where the checkpoint has one.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from otter_model.attention import attend, split_heads
from otter_model.config import PerceiverConfig
from otter_model.errors import TooManyFrames
from otter_model.feed_forward import feed_forward


class Perceiver(nn.Module):
    def __init__(self, config: PerceiverConfig) -> None:
        super().__init__()
        self.latents = nn.Parameter(torch.randn(config.latents, config.dim))
        frames = config.max_frames
        self.frame_embs = None if frames is None else nn.Parameter(torch.randn(frames, config.dim))
        self.layers = nn.ModuleList(PerceiverLayer(config) for _ in range(config.depth))
        self.norm = nn.LayerNorm(config.dim)

    def forward(self, features: Tensor) -> Tensor:
        """features (B,F,P,D), one medium each -> latents (B,L,D).

        Raises TooManyFrames where there are frame embeddings and F exceeds them.
        """
        media = self._marked(features).flatten(1, 2)  # (B, F·P, D)
        latents = self.latents.expand(len(media), -1, -1)
        for layer in self.layers:
            latents = layer(media, latents)
        out: Tensor = self.norm(latents)
        return out

    def _marked(self, features: Tensor) -> Tensor:
        """Adds embedding f to every token of frame f."""
        if self.frame_embs is None:
            return features
        frames = features.shape[1]
        if frames > len(self.frame_embs):
            raise TooManyFrames(frames, len(self.frame_embs))
        return features + self.frame_embs[:frames, None]


class PerceiverLayer(nn.Module):
    """Latents look at media and at themselves, then a feed-forward; both with a residual."""

    def __init__(self, config: PerceiverConfig) -> None:
        super().__init__()
        dim, inner = config.dim, config.heads * config.head_dim
        self.heads = config.heads
        self.scale = config.head_dim**-0.5
        self.norm_media = nn.LayerNorm(dim)
        self.norm_latents = nn.LayerNorm(dim)
        self.to_q = nn.Linear(dim, inner, bias=False)
        self.to_kv = nn.Linear(dim, 2 * inner, bias=False)
        self.to_out = nn.Linear(inner, dim, bias=False)
        self.feed_forward = feed_forward(dim, config.ff_mult)

    def forward(self, media: Tensor, latents: Tensor) -> Tensor:
        """media (B,m,D), latents (B,L,D) -> latents."""
        own = self.norm_latents(latents)
        k, v = self.to_kv(torch.cat([self.norm_media(media), own], dim=1)).chunk(2, dim=-1)
        q = split_heads(self.to_q(own) * self.scale, self.heads)
        seen = attend(q, split_heads(k, self.heads), split_heads(v, self.heads))
        latents = latents + self.to_out(seen)
        out: Tensor = latents + self.feed_forward(latents)
        return out
