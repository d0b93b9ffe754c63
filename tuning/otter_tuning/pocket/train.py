"""Train the pocket Otter from scratch on episodes of the pocket world.

    python -m otter_tuning.pocket.train --data build/pocket-data \\
        --validation build/pocket-validation --out tuning/pocket/checkpoint

Two stages in one run, by step: first eyes and resampler with the probe's heads alone, then
everything with the language model. The rate is constant, then falls linearly to zero over the
last part.
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
from torch.nn import functional

from otter_model.checkpoint import load, save
from otter_model.otter import Otter
from otter_tuning.pocket.data import Episodes
from otter_tuning.pocket.muon import Muon
from otter_tuning.pocket.network import fresh_otter, pocket_config
from otter_tuning.pocket.probe import Probe
from otter_tuning.pocket.sampling import IGNORED, Batch, Sampler, normalise
from otter_tuning.pocket.tokenizer import train_tokenizer

PROBE = "probe.safetensors"


@dataclass(frozen=True)
class Recipe:
    """What a run is made of; the defaults made the shipped checkpoint."""

    steps: int = 3000
    looking_steps: int = 500  # the first stage, without the language model
    decay_steps: int = 1000  # the last part of the run
    warmup_steps: int = 50
    chunks: int = 24  # of 7 frames, 4 windows each, a step
    plans: int = 112  # planning questions a step
    perceptions: int = 48
    muon_rate: float = 3e-3
    adam_rate: float = 3e-3
    weight_decay: float = 0.02
    patch_weight: float = 0.5
    plan_weight: float = 1.0
    seed: int = 0


@dataclass(frozen=True)
class Losses:
    """Of one batch; `words` is None in the first stage."""

    patch: Tensor
    plan: Tensor
    words: Tensor | None
    right: dict[str, float]

    def total(self, recipe: Recipe) -> Tensor:
        seen = recipe.patch_weight * self.patch + recipe.plan_weight * self.plan
        return seen if self.words is None else seen + self.words


def losses(otter: Otter, probe: Probe, batch: Batch, pixels: Tensor, speak: bool) -> Losses:
    """One forward pass; `pixels` (B·CHUNK, 3, 64, 64)."""
    features = otter.encode(pixels)
    latents = otter.resample(features[torch.from_numpy(batch.members)])
    logits = probe.plan_logits(latents)
    plans = torch.from_numpy(batch.plans)
    right = {"plan": _share(logits.argmax(-1), plans, (plans != IGNORED) & (plans != 4))}
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
    logits = otter.head(hidden[spoken])
    right = _share(logits.argmax(-1), targets[spoken], torch.ones_like(targets[spoken]).bool())
    return functional.cross_entropy(logits, targets[spoken]), right


def _share(guess: Tensor, truth: Tensor, where: Tensor) -> float:
    return float((guess == truth)[where].float().mean())


def jitter(pixels: Tensor, chunks: int, generator: torch.Generator) -> Tensor:
    """Gain and offset per chunk and colour: lamps and cameras differ."""
    shape = (chunks, 1, 3, 1, 1)
    gain = 1 + 0.15 * (2 * torch.rand(chunks, 1, 1, 1, 1, generator=generator) - 1)
    gain = gain * (1 + 0.07 * (2 * torch.rand(shape, generator=generator) - 1))
    offset = 0.15 * (2 * torch.rand(shape, generator=generator) - 1)
    jittered: Tensor = pixels.view(chunks, -1, *pixels.shape[1:]) * gain + offset
    return jittered.flatten(0, 1)


def optimisers(modules: list[nn.Module], recipe: Recipe) -> list[torch.optim.Optimizer]:
    """Muon for hidden matrices, AdamW for embeddings, norms, biases, gates and heads."""
    matrices: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    for module in modules:
        for name, parameter in module.named_parameters():
            table = any(
                part in name for part in ("embedding", "wte", "latents", "frame_embs", "queries")
            )
            matrix = parameter.ndim == 2 and not table and min(parameter.shape) > 16
            (matrices if matrix else others).append(parameter)
    return [
        Muon(matrices, recipe.muon_rate, recipe.weight_decay),
        torch.optim.AdamW(others, recipe.adam_rate, betas=(0.9, 0.98), weight_decay=0.0),
    ]


def rate(step: int, first_step: int, recipe: Recipe) -> float:
    """The share of the full rate at `step` of a run that began, or went on, at `first_step`."""
    warm = (step - first_step + 1) / recipe.warmup_steps
    left = (recipe.steps - step) / recipe.decay_steps
    return min(1.0, warm, left)


def train(
    recipe: Recipe,
    episodes: Episodes,
    validation: Episodes,
    tokenizer: Tokenizer,
    out: Path,
    start: Path | None = None,
    first_step: int = 0,
) -> Otter:
    torch.manual_seed(recipe.seed)
    otter = fresh_otter(pocket_config(tokenizer)) if start is None else load(start)
    otter.train()
    probe = Probe(otter.config.vision.dim)
    if start is not None:
        load_model(probe, start / PROBE)
    groups = optimisers([otter, probe], recipe)
    full = [group.param_groups[0]["lr"] for group in groups]
    sampler = Sampler(episodes, tokenizer, recipe.seed + first_step)
    held_out = Sampler(validation, tokenizer, 1).batch(48, 210, 90)
    generator = torch.Generator().manual_seed(recipe.seed)
    began = time.monotonic()
    for step in range(first_step, recipe.steps):
        for group, base in zip(groups, full, strict=True):
            group.param_groups[0]["lr"] = base * rate(step, first_step, recipe)
        batch = sampler.batch(recipe.chunks, recipe.plans, recipe.perceptions)
        pixels = torch.from_numpy(normalise(batch.frames)).flatten(0, 1)
        now = losses(
            otter,
            probe,
            batch,
            jitter(pixels, recipe.chunks, generator),
            step >= recipe.looking_steps,
        )
        now.total(recipe).backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_([*otter.parameters(), *probe.parameters()], 1.0)
        for group in groups:
            group.step()
            group.zero_grad()
        if step % 20 == 0 or step == recipe.steps - 1:
            _report(step, now, time.monotonic() - began)
        if step % 100 == 99 or step == recipe.steps - 1:
            otter.eval()
            with torch.no_grad():
                pixels = torch.from_numpy(normalise(held_out.frames)).flatten(0, 1)
                seen = losses(otter, probe, held_out, pixels, step >= recipe.looking_steps)
            _report(step, seen, time.monotonic() - began, "held out")
            otter.train()
            _keep(otter, probe, tokenizer, out)
    return otter.eval()


def _report(step: int, losses: Losses, seconds: float, which: str = "training") -> None:
    row = {
        "step": step,
        "on": which,
        "s": round(seconds),
        "patch": losses.patch,
        "plan": losses.plan,
    }
    row |= {} if losses.words is None else {"words": losses.words}
    shown = {k: round(float(v), 4) if isinstance(v, Tensor) else v for k, v in row.items()}
    print(
        json.dumps(shown | {f"right_{k}": round(v, 4) for k, v in losses.right.items()}), flush=True
    )


def _keep(otter: Otter, probe: Probe, tokenizer: Tokenizer, out: Path) -> None:
    save(otter, out)
    tokenizer.save(str(out / "tokenizer.json"))
    save_model(probe, str(out / PROBE))


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Train the pocket Otter from scratch.")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--validation", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--start", type=Path)
    parser.add_argument("--first-step", type=int, default=0)
    for name, value in asdict(Recipe()).items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(value), default=value)
    args = parser.parse_args(argv)
    recipe = Recipe(**{name: getattr(args, name) for name in asdict(Recipe())})
    args.out.mkdir(parents=True, exist_ok=True)
    episodes, validation = Episodes.open(args.data), Episodes.open(args.validation)
    train(recipe, episodes, validation, train_tokenizer(), args.out, args.start, args.first_step)
    return 0


if __name__ == "__main__":
    sys.exit(main())
