"""What a step minimises: cross-entropy of the learned tokens, each seeing its own medium only, and
of the probe's heads where there are dense labels."""

from __future__ import annotations

from collections import defaultdict

import torch
from torch import Tensor, nn
from torch.nn import functional

from otter_model.otter import Otter
from otter_tuning.training.batch import Batch
from otter_tuning.training.encoding import IGNORED
from otter_tuning.training.probe import Probe


class Objective(nn.Module):
    """The network with its losses, as one module: what DDP and FSDP wrap.

    With `complete` every parameter that learns has a gradient after each batch, zero where the
    batch had no use for it: FSDP reduces those that have one, and one process may have text where
    another has pictures.
    """

    def __init__(self, otter: Otter, probe: Probe | None = None, complete: bool = False) -> None:
        super().__init__()
        self.otter, self.probe, self.complete = otter, probe, complete

    def forward(self, batch: Batch, speak: bool = True) -> Tensor:
        """(5,) float32: the sum of the learned tokens' cross-entropies in nats, the means of the
        probe's patches and slots, and of the learned tokens how many are right and how many there
        are. Without `speak` the language model is left out, and the words are 0."""
        features, latents = self._look(batch)
        none = batch.pixels.new_zeros(())
        if self.complete and torch.is_grad_enabled():
            none = none + sum(0 * p.view(-1)[0] for p in self.parameters() if p.requires_grad)
        nats, right, learned = self._words(batch, latents) if speak else (none, none, none)
        return torch.stack([nats + none, *self._probed(batch, features, latents), right, learned])

    def logits(self, batch: Batch) -> Tensor:
        """(B, L, V): each token sees the medium of the last `<image>` at or before it."""
        return self.otter.head(self._hidden(batch, self._look(batch)[1]))

    def _look(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Features (N, P, D) and latents (M, L, D): frames encoded, media resampled, each once."""
        config = self.otter.config.perceiver
        if not batch.media:
            return batch.pixels, batch.pixels.new_zeros(0, config.latents, config.dim)
        features = self.otter.encode(batch.pixels)
        by_length: dict[int, list[int]] = defaultdict(list)
        for number, frames in enumerate(batch.media):
            by_length[len(frames)].append(number)
        made = []
        for members in by_length.values():
            chosen = torch.tensor([batch.media[at] for at in members], device=features.device)
            made.append(self.otter.resample(taken(features, chosen)))
        order = [at for members in by_length.values() for at in members]
        return features, torch.cat(made)[torch.tensor(order, device=features.device).argsort()]

    def _hidden(self, batch: Batch, latents: Tensor) -> Tensor:
        """(B, L, D): a row's missing media are zeros that no token sees."""
        most = max((place for _, place, _ in batch.seen), default=0) + 1
        placed = latents.new_zeros(len(batch.ids), most, *latents.shape[1:])
        if batch.seen:
            row, place, medium = torch.tensor(batch.seen, device=latents.device).T
            placed = placed.index_put((row, place), taken(latents, medium))
        media = self.otter.media(placed)
        return self.otter.hidden(batch.ids, batch.media_index, media)[0]

    def _words(self, batch: Batch, latents: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Nats of the learned tokens, how many are right, how many; only they reach the head."""
        hidden, targets = self._hidden(batch, latents)[:, :-1], batch.labels[:, 1:]
        learned = targets != IGNORED
        logits, said = self.otter.head(hidden[learned]).float(), targets[learned]
        nats = functional.cross_entropy(logits, said, reduction="sum")
        return nats, (logits.argmax(-1) == said).sum().float(), learned.sum().float()

    def _probed(self, batch: Batch, features: Tensor, latents: Tensor) -> tuple[Tensor, Tensor]:
        zero = batch.pixels.new_zeros(())
        if self.probe is None:
            return zero, zero
        patches, slots = batch.patches, batch.slots
        patch = zero if patches is None else self.probe.patch_loss(features, patches)
        return patch, zero if slots is None else self.probe.slot_loss(latents, slots)


def taken(rows: Tensor, which: Tensor) -> Tensor:
    """`rows[which]`, with gradients that are the same bits each time on a CPU.

    Where a row is taken more than twice, all threads add to the gradient of `rows[which]` at once,
    in any order (PyTorch's `index_put_` with accumulate); `index_select` has an order.
    """
    return rows.index_select(0, which.flatten()).view(*which.shape, *rows.shape[1:])
