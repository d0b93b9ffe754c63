"""What a training step minimises: patches and plans by the probe, words by the model itself."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from otter_model.otter import Otter
from otter_tuning.pocket.probe import Probe
from otter_tuning.pocket.questions import UNSEEN
from otter_tuning.pocket.sampling import IGNORED, Batch

PATCH_WEIGHT = 0.5


@dataclass(frozen=True)
class Losses:
    """Of one batch: cross-entropies, and shares of right guesses; no words in the first stage."""

    patch: Tensor
    plan: Tensor
    words: Tensor | None
    right: dict[str, float]

    @property
    def total(self) -> Tensor:
        """What is minimised."""
        seen = PATCH_WEIGHT * self.patch + self.plan
        return seen if self.words is None else seen + self.words

    def row(self) -> dict[str, float]:
        """All of it as plain numbers."""
        row = {"patch": float(self.patch.detach()), "plan": float(self.plan.detach())}
        row |= {} if self.words is None else {"words": float(self.words.detach())}
        row |= {f"right_{name}": share for name, share in self.right.items()}
        return {name: round(value, 4) for name, value in row.items()}


def losses(otter: Otter, probe: Probe, batch: Batch, pixels: Tensor, speak: bool) -> Losses:
    """One forward pass; `pixels` (B·CHUNK, 3, 64, 64), `speak` with the language model."""
    features = otter.encode(pixels)
    latents = otter.resample(features[torch.from_numpy(batch.members)])
    logits, plans = probe.plan_logits(latents), torch.from_numpy(batch.plans)
    seen = (plans != IGNORED) & (plans != UNSEEN)  # "unseen" is most of them, and easy
    right = {"plan": _share(logits.argmax(-1)[seen], plans[seen])}
    words = None
    if speak:
        words, right["token"] = _words(otter, batch, latents)
    patch = probe.patch_loss(features, torch.from_numpy(batch.patches).flatten(0, 1))
    return Losses(patch, probe.plan_loss(logits, plans), words, right)


def _words(otter: Otter, batch: Batch, latents: Tensor) -> tuple[Tensor, float]:
    ids, targets = torch.from_numpy(batch.ids), torch.from_numpy(batch.targets)
    media = otter.media(latents[:, None]).rows(torch.from_numpy(batch.window))
    hidden, _ = otter.hidden(ids, torch.ones_like(ids), media)
    spoken = targets != IGNORED
    logits, said = otter.head(hidden[spoken]), targets[spoken]
    return functional.cross_entropy(logits, said), _share(logits.argmax(-1), said)


def _share(guess: Tensor, truth: Tensor) -> float:
    return float((guess == truth).float().mean())
