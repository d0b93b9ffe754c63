"""Extra heads that teach the eyes and the resampler directly; used in training only, never shipped.

The patch head asks every patch feature which kind it shows; the plan head asks the latents,
with one learned query a kind, which plan leads there. Without them a pocket-sized Otter learns
to look far more slowly.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from otter_tuning.pocket.kinds import KINDS
from otter_tuning.pocket.questions import CLASSES, UNSEEN
from otter_tuning.pocket.sampling import IGNORED


class Probe(nn.Module):
    """Both heads over features and latents of width `dim`."""

    def __init__(self, dim: int, heads: int = 4) -> None:
        super().__init__()
        self.patch = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, len(KINDS) + 1))
        self.queries = nn.Parameter(torch.randn(len(KINDS), dim))
        self.norm = nn.LayerNorm(dim)
        self.attend = nn.MultiheadAttention(dim, heads, batch_first=True)
        self.plan = nn.Sequential(
            nn.LayerNorm(dim), nn.Linear(dim, 2 * dim), nn.GELU(), nn.Linear(2 * dim, len(CLASSES))
        )
        # Most patches show no thing and most kinds are out of view: weigh those down.
        weights = torch.ones(len(KINDS) + 1)
        weights[-1] = 0.2
        self.register_buffer("patch_weight", weights)
        weights = torch.ones(len(CLASSES))
        weights[UNSEEN] = 0.3
        self.register_buffer("plan_weight", weights)

    def patch_loss(self, features: Tensor, patches: Tensor) -> Tensor:
        """features (n, P, dim), patches (n, P) int64 -> cross-entropy."""
        logits = self.patch(features).flatten(0, 1)
        return functional.cross_entropy(logits, patches.flatten(), self.patch_weight)  # type: ignore[arg-type]

    def plan_logits(self, latents: Tensor) -> Tensor:
        """latents (W, L, dim) -> (W, K, classes)."""
        queries = self.queries.expand(len(latents), -1, -1)
        latents = self.norm(latents)
        seen, _ = self.attend(queries, latents, latents, need_weights=False)
        logits: Tensor = self.plan(queries + seen)
        return logits

    def plan_loss(self, logits: Tensor, plans: Tensor) -> Tensor:
        """plan_logits' result and plans (W, K) int64 -> cross-entropy over the clear ones."""
        return functional.cross_entropy(
            logits.flatten(0, 1),
            plans.flatten(),
            self.plan_weight,  # type: ignore[arg-type]
            ignore_index=IGNORED,
        )
