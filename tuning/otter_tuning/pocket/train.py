"""Train the pocket Otter from scratch on episodes of the pocket world.

    python -m otter_tuning.pocket.train --data build/pocket-data \\
        --validation build/pocket-validation --out tuning/pocket/checkpoint

Two stages in one run, by step: first eyes and resampler with the probe's heads alone, then
everything with the language model. The rate is constant, then falls linearly to zero.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors.torch import load_model, save_model
from tokenizers import Tokenizer
from torch import Tensor, nn

from otter_model.checkpoint import load, save
from otter_model.otter import Otter
from otter_tuning.pocket.data import Episodes
from otter_tuning.pocket.losses import Losses, losses
from otter_tuning.pocket.muon import Muon
from otter_tuning.pocket.network import fresh_otter, pocket_config
from otter_tuning.pocket.probe import Probe
from otter_tuning.pocket.sampling import Batch, Sampler, normalise
from otter_tuning.pocket.tokenizer import train_tokenizer

PROBE, STATE = "probe.safetensors", "state.json"
REPORT_EVERY, KEEP_EVERY = 20, 100
# What AdamW trains although it is two-dimensional: tables, not maps.
TABLES = ("embedding", "wte", "latents", "frame_embs", "queries")


@dataclass(frozen=True)
class Recipe:
    """What a run is made of; the defaults made the shipped checkpoint."""

    steps: int = 1400
    looking_steps: int = 550  # the first stage, without the language model
    decay_steps: int = 750  # the last part of the run
    warmup_steps: int = 50
    chunks: int = 24  # of 7 frames, 4 windows each, a step
    plans: int = 84  # planning questions a step
    perceptions: int = 36
    muon_rate: float = 2e-3
    adam_rate: float = 2e-3
    weight_decay: float = 0.02
    seed: int = 0

    def rate(self, step: int, first_step: int) -> float:
        """The share of the full rate at `step` of a run that began, or went on, at `first_step`."""
        warm = (step - first_step + 1) / self.warmup_steps
        left = (self.steps - step) / self.decay_steps
        return min(1.0, warm, left)


class Trainer:
    """A run in the folder `work`: it goes on from what it finds there."""

    def __init__(self, recipe: Recipe, work: Path, episodes: Episodes, held_out: Episodes) -> None:
        torch.manual_seed(recipe.seed)
        self.recipe, self.work = recipe, work
        self.tokenizer = train_tokenizer()
        self.otter, self.probe, self.first_step = _found(work, self.tokenizer)
        self._optimisers = optimisers([self.otter, self.probe], recipe)
        self._rates = [one.param_groups[0]["lr"] for one in self._optimisers]
        self._sampler = Sampler(episodes, self.tokenizer, recipe.seed + self.first_step)
        self._held_out = Sampler(held_out, self.tokenizer, 1).batch(48, 210, 90)
        self._generator = torch.Generator().manual_seed(recipe.seed + self.first_step)
        self._began_s = time.monotonic()

    def run(self) -> Otter:
        """All steps, keeping the weights every hundred; the network in evaluation mode."""
        last = self.recipe.steps - 1
        for step in range(self.first_step, self.recipe.steps):
            now = self.step(step)
            if step % REPORT_EVERY == 0 or step == last:
                self._report(step, "training", now)
            if step % KEEP_EVERY == KEEP_EVERY - 1 or step == last:
                self._report(step, "held out", self.look(step))
                self._keep(step)
        return self.otter.eval()

    def step(self, step: int) -> Losses:
        """One step of both optimisers on a new batch."""
        recipe = self.recipe
        self.otter.train()
        batch = self._sampler.batch(recipe.chunks, recipe.plans, recipe.perceptions)
        now = self._losses(batch, jitter(_pixels(batch), recipe.chunks, self._generator), step)
        now.total.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_([*self.otter.parameters(), *self.probe.parameters()], 1.0)
        for optimiser, full in zip(self._optimisers, self._rates, strict=True):
            optimiser.param_groups[0]["lr"] = full * recipe.rate(step, self.first_step)
            optimiser.step()
            optimiser.zero_grad()
        return now

    @torch.no_grad()
    def look(self, step: int) -> Losses:
        """Losses on the held-out batch."""
        self.otter.eval()
        return self._losses(self._held_out, _pixels(self._held_out), step)

    def _losses(self, batch: Batch, pixels: Tensor, step: int) -> Losses:
        return losses(self.otter, self.probe, batch, pixels, step >= self.recipe.looking_steps)

    def _report(self, step: int, on: str, now: Losses) -> None:
        seconds = round(time.monotonic() - self._began_s)
        print(json.dumps({"step": step, "on": on, "s": seconds, **now.row()}), flush=True)

    def _keep(self, step: int) -> None:
        save(self.otter, self.work)
        save_model(self.probe, str(self.work / PROBE))
        (self.work / STATE).write_text(json.dumps({"step": step + 1, **asdict(self.recipe)}))


def _found(work: Path, tokenizer: Tokenizer) -> tuple[Otter, Probe, int]:
    """The networks in `work` and the step they were kept at, or fresh ones."""
    config = pocket_config(tokenizer)
    probe = Probe(config.vision.dim)
    if not (work / STATE).is_file():
        return fresh_otter(config), probe, 0
    load_model(probe, work / PROBE)
    return load(work), probe, int(json.loads((work / STATE).read_text())["step"])


def _pixels(batch: Batch) -> Tensor:
    return torch.from_numpy(normalise(batch.frames)).flatten(0, 1)


def jitter(pixels: Tensor, chunks: int, generator: torch.Generator) -> Tensor:
    """Gain and offset per chunk and colour: lamps and cameras differ."""
    per_colour = (chunks, 1, 3, 1, 1)
    gain = 1 + 0.15 * (2 * torch.rand(chunks, 1, 1, 1, 1, generator=generator) - 1)
    gain = gain * (1 + 0.07 * (2 * torch.rand(per_colour, generator=generator) - 1))
    offset = 0.15 * (2 * torch.rand(per_colour, generator=generator) - 1)
    jittered: Tensor = pixels.view(chunks, -1, *pixels.shape[1:]) * gain + offset
    return jittered.flatten(0, 1)


def optimisers(modules: list[nn.Module], recipe: Recipe) -> list[torch.optim.Optimizer]:
    """Muon for hidden matrices; AdamW for tables, norms, biases, gates and the probe's outputs."""
    matrices: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    for name, parameter in (named for module in modules for named in module.named_parameters()):
        table = any(part in name for part in TABLES)
        matrix = parameter.ndim == 2 and not table and min(parameter.shape) > 16
        (matrices if matrix else others).append(parameter)
    return [
        Muon(matrices, recipe.muon_rate, recipe.weight_decay),
        torch.optim.AdamW(others, recipe.adam_rate, betas=(0.9, 0.98), weight_decay=0.0),
    ]


def ship(otter: Otter, tokenizer: Tokenizer, out: Path) -> None:
    """Write the checkpoint in half precision: what is rounded there is the model from then on."""
    save(otter.half(), out)
    tokenizer.save(str(out / "tokenizer.json"))


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Train the pocket Otter from scratch.")
    add = parser.add_argument
    add("--data", type=Path, required=True, help="training episodes")
    add("--validation", type=Path, required=True, help="episodes to report on")
    add("--out", type=Path, required=True, help="the checkpoint's folder")
    add("--work", type=Path, default=Path("build/pocket-run"), help="where a cut run goes on")
    for name, value in asdict(Recipe()).items():
        add(f"--{name.replace('_', '-')}", type=type(value), default=value)
    args = parser.parse_args(argv)
    recipe = Recipe(**{name: getattr(args, name) for name in asdict(Recipe())})
    args.work.mkdir(parents=True, exist_ok=True)
    episodes, held_out = Episodes.open(args.data), Episodes.open(args.validation)
    trainer = Trainer(recipe, args.work, episodes, held_out)
    ship(trainer.run(), trainer.tokenizer, args.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
