"""What a step minimises: cross-entropy of the learned tokens, each seeing its own medium only."""

from __future__ import annotations

from collections import defaultdict

import torch
from torch import Tensor, nn
from torch.nn import functional

from otter_model.otter import Otter
from otter_tuning.training.batch import Batch
from otter_tuning.training.encoding import IGNORED


class Objective(nn.Module):
    """The network with its loss, as one module: what DDP and FSDP wrap."""

    def __init__(self, otter: Otter) -> None:
        super().__init__()
        self.otter = otter

    def forward(self, batch: Batch) -> Tensor:
        """The sum of the learned tokens' cross-entropies, in nats; float32."""
        logits = self.logits(batch)[:, :-1].float()
        targets = batch.labels[:, 1:]
        return functional.cross_entropy(
            logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORED, reduction="sum"
        )

    def logits(self, batch: Batch) -> Tensor:
        """(B, L, V): each token sees the medium of the last `<image>` at or before it."""
        media = self.otter.media(self._latents(batch))
        return self.otter.decode(batch.ids, batch.media_index, media)[0]

    def _latents(self, batch: Batch) -> Tensor:
        """(B, M, latents, dim); a row's missing media are zeros that no token sees."""
        config = self.otter.config.perceiver
        rows, most = len(batch.ids), max((place for _, place, _ in batch.media), default=0) + 1
        dtype = self.otter.perceiver.latents.dtype
        latents = batch.pixels.new_zeros(rows, most, config.latents, config.dim, dtype=dtype)
        if not batch.media:
            return latents
        features = self.otter.encode(batch.pixels)
        by_length: dict[int, list[int]] = defaultdict(list)
        for at, one in enumerate(batch.media):
            by_length[len(one[2])].append(at)
        for members in by_length.values():
            chosen = [batch.media[at] for at in members]
            frames = torch.tensor([one[2] for one in chosen], device=features.device)
            made = self.otter.resample(features[frames])
            row = torch.tensor([one[0] for one in chosen], device=features.device)
            place = torch.tensor([one[1] for one in chosen], device=features.device)
            latents = latents.to(made.dtype).index_put((row, place), made)
        return latents
