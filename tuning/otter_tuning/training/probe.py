"""Heads that teach eyes and resampler directly, beside the words; training only, never shipped.

The patch head asks every patch feature which class it shows; the slot head asks the latents, with
one learned query a slot, which class that slot is. A small network that starts from random weights
learns to look far sooner with them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from otter_runtime.errors import UserError
from otter_tuning.training.labels import Labels

HEADS = 4
IGNORED = -1  # labels.UNKNOWN


class Probe(nn.Module):
    """Both heads, over patch features of width `features` and latents of width `latents`."""

    def __init__(
        self, labels: Labels, features: int, latents: int, weights: Mapping[str, float]
    ) -> None:
        """`weights` by class name; 1 where nothing is said. Raises UserError for other names."""
        super().__init__()
        known = {*labels.patch_classes, *labels.slot_classes}
        if unknown := sorted(set(weights) - known):
            raise UserError(
                f"there is no class {unknown[0]!r} to weigh; there are {', '.join(sorted(known))}"
            )
        slots, answers = labels.slots.shape[1], len(labels.slot_classes)
        self.patch = nn.Sequential(
            nn.LayerNorm(features), nn.Linear(features, len(labels.patch_classes))
        )
        self.queries = nn.Parameter(torch.randn(slots, latents))
        self.norm = nn.LayerNorm(latents)
        self.attend = nn.MultiheadAttention(latents, HEADS, batch_first=True)
        self.slot = nn.Sequential(
            nn.LayerNorm(latents),
            nn.Linear(latents, 2 * latents),
            nn.GELU(),
            nn.Linear(2 * latents, answers),
        )
        self.register_buffer("patch_weight", _weights(labels.patch_classes, weights))
        self.register_buffer("slot_weight", _weights(labels.slot_classes, weights))

    def patch_loss(self, features: Tensor, patches: Tensor) -> Tensor:
        """features (n, P, dim), patches (n, P) int64 -> weighted mean of the cross-entropies."""
        return _loss(self.patch(features), patches, self.get_buffer("patch_weight"))

    def slot_loss(self, latents: Tensor, slots: Tensor) -> Tensor:
        """latents (m, L, dim), slots (m, S) int64 -> the same."""
        queries = self.queries.expand(len(latents), -1, -1)
        latents = self.norm(latents)
        seen, _ = self.attend(queries, latents, latents, need_weights=False)
        return _loss(self.slot(queries + seen), slots, self.get_buffer("slot_weight"))


def _loss(logits: Tensor, classes: Tensor, weight: Tensor) -> Tensor:
    """Over what is known; 0 where nothing is."""
    known = classes != IGNORED
    chosen = classes[known]
    nats = functional.cross_entropy(logits[known].float(), chosen, weight, reduction="sum")
    return nats / weight[chosen].sum().clamp(min=1.0)


def _weights(classes: Sequence[str], weights: Mapping[str, float]) -> Tensor:
    return torch.tensor([weights.get(name, 1.0) for name in classes])
