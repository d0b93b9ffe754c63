"""Otter as a whole: eyes, resampler, language model, and which token sees which medium.

It knows nothing of files, tokenizers or how to choose the next token.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from otter_model.config import OtterConfig
from otter_model.cross_attention import Media, Sight
from otter_model.decoder import Cache, LanguageModel
from otter_model.errors import PromptTooLong, TooManyImages
from otter_model.llama import Llama
from otter_model.mpt import Mpt
from otter_model.perceiver import Perceiver
from otter_model.vision import VisionEncoder


class Otter(nn.Module):
    """The network; parameters carry the reference's names, so its checkpoints load as they are."""

    def __init__(self, config: OtterConfig) -> None:
        super().__init__()
        self.config = config
        family = Llama if config.decoder.family == "llama" else Mpt
        self.vision_encoder = VisionEncoder(config.vision)
        self.perceiver = Perceiver(config.perceiver)
        self.lang_encoder = family(config.decoder, config.perceiver.dim)
        for module in self.modules():
            if isinstance(
                module, nn.Embedding
            ):  # PyTorch's N(0, 1) makes a tied head's logits huge
                nn.init.normal_(module.weight, std=0.02)

    @property
    def language(self) -> LanguageModel:
        return cast(LanguageModel, self.lang_encoder)

    def encode(self, pixels: Tensor) -> Tensor:
        """pixels (n,3,H,W), normalised -> features (n,P,D)."""
        features: Tensor = self.vision_encoder(pixels)
        return features

    def resample(self, features: Tensor) -> Tensor:
        """features (B,F,P,D), one medium of F frames each -> latents (B,L,D)."""
        latents: Tensor = self.perceiver(features)
        return latents

    def media(self, latents: Tensor) -> Media:
        """latents (B,M,L,D), M ≥ 1 (a text-only prompt has one it ignores) -> keys and values."""
        flat = latents.flatten(1, 2)
        gated = [layer.gated_cross_attn_layer for layer in self.language.layers]
        pairs = [block.attn.media(flat) for block in gated if block is not None]
        return Media(tuple(k for k, _ in pairs), tuple(v for _, v in pairs), latents.shape[2])

    def look(self, vision_x: Tensor) -> Media:
        """vision_x (B,M,F,3,H,W) -> its media: encode, resample, media."""
        rows, media, frames = vision_x.shape[:3]
        features = self.encode(vision_x.flatten(0, 2))
        latents = self.resample(features.reshape(rows * media, frames, *features.shape[1:]))
        return self.media(latents.reshape(rows, media, *latents.shape[1:]))

    def media_index(self, ids: Tensor) -> Tensor:
        """ids (B,n) -> (B,n) int64: how many `<image>` each token has at or before it."""
        return (ids == self.config.tokens.image).cumsum(dim=1)

    def decode(
        self,
        ids: Tensor,
        media_index: Tensor,
        media: Media,
        cache: Cache | None = None,
        mask: Tensor | None = None,
    ) -> tuple[Tensor, Cache]:
        """Appends ids (B,n) int64 and returns their logits (B,n,V) with the longer cache.

        media_index (B,n) int64: the medium that each token sees, 1-based, 0 for none. mask (B,n), 0
        at pads (anywhere); left out, there are none. Raises PromptTooLong beyond the decoder's
        positions.
        """
        hidden, cache = self.hidden(ids, media_index, media, cache, mask)
        return self.language.head(hidden), cache

    def hidden(
        self,
        ids: Tensor,
        media_index: Tensor,
        media: Media,
        cache: Cache | None = None,
        mask: Tensor | None = None,
    ) -> tuple[Tensor, Cache]:
        """`decode` without the head: the last layer's output (B,n,dim), for `head` on some."""
        past = 0 if cache is None else cache.length
        n, limit = ids.shape[1], self.config.decoder.max_positions
        if past + n > limit:
            raise PromptTooLong(past + n, limit)
        seen = _joined_mask(cache, mask, len(ids), n)
        sight = Sight.of(media_index, media)
        x, kvs, gated = self.language.embed(ids), [], 0
        geometry = self.language.geometry(x, past, seen)
        for i, layer in enumerate(self.language.layers):
            if (block := layer.gated_cross_attn_layer) is not None:
                x = block(x, media.k[gated], media.v[gated], sight)
                gated += 1
            x, kv = layer.block(x, geometry, None if cache is None else cache.kv[i])
            kvs.append(kv)
        return x, Cache(tuple(kvs), seen)

    def head(self, hidden: Tensor) -> Tensor:
        """hidden (…,dim) -> logits (…,V)."""
        return self.language.head(hidden)

    def forward(
        self, vision_x: Tensor, input_ids: Tensor, attention_mask: Tensor | None = None
    ) -> Tensor:
        """vision_x (B,M,F,3,H,W), input_ids (B,L), attention_mask (B,L) -> logits (B,L,V).

        Everything is computed afresh; differentiable. Raises TooManyImages where a row has more
        `<image>` than M; surplus media are ignored.
        """
        self.check_images(input_ids, vision_x.shape[1])
        index = self.media_index(input_ids)
        logits, _ = self.decode(input_ids, index, self.look(vision_x), mask=attention_mask)
        return logits

    def check_images(self, ids: Tensor, media: int) -> None:
        """Raises TooManyImages where a row of ids (B,n) mentions more than `media` media."""
        counts = (ids == self.config.tokens.image).sum(dim=1)
        worst = int(counts.argmax())
        if (images := int(counts[worst])) > media:
            raise TooManyImages(images, media, worst)


def _joined_mask(cache: Cache | None, mask: Tensor | None, rows: int, n: int) -> Tensor | None:
    """The padding mask (B,past+n) bool of cached and new tokens, None while nothing is padded."""
    old = None if cache is None else cache.mask
    if old is None and (mask is None or bool((mask != 0).all())):
        return None
    new = torch.ones(rows, n, dtype=torch.bool) if mask is None else mask != 0
    if cache is None:
        return new
    if old is None:
        old = torch.ones(rows, cache.length, dtype=torch.bool)
    return torch.cat([old, new], dim=1)
