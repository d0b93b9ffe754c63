"""What moves the weights: AdamW as in the paper, or Muon beside it for a network from scratch; and
at which rate."""

from __future__ import annotations

import math

import torch
from torch import nn

from otter_tuning.training.config import TuneConfig
from otter_tuning.training.muon import Muon
from otter_tuning.training.parameters import groups

# What Muon leaves to AdamW although it is two-dimensional: tables and queries, not maps.
TABLES = ("embed", "embs", "wte", "latents", "queries", "lm_head")
SMALLEST = 16  # a matrix with a side of no more is no map either: the heads' outputs


def optimizers(module: nn.Module, config: TuneConfig) -> list[torch.optim.Optimizer]:
    """One for each kind of parameter that learns."""
    if config.optimizer == "adamw":
        chosen = groups(module, config.decay)
        return [torch.optim.AdamW(chosen, lr=config.rate, betas=config.betas)]
    matrices, others = split(module)
    return [
        Muon(matrices, config.rate, config.decay),
        torch.optim.AdamW(others, config.rate, betas=config.betas, weight_decay=0.0),
    ]


def split(module: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """The maps between hidden states, and all other parameters that learn."""
    matrices: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            table = any(part in name for part in TABLES)
            matrix = parameter.ndim == 2 and not table and min(parameter.shape) > SMALLEST
            (matrices if matrix else others).append(parameter)
    return matrices, others


def share_of_rate(config: TuneConfig, step: int, steps: int) -> float:
    """Of the full rate, at `step` of `steps`.

    Linear to 1 over `warmup`, 1 until `hold`, then a cosine or a line to 0.
    """
    warm = max(1, round(config.warmup * steps))
    if step < warm:
        return (step + 1) / warm
    start = max(warm, round(config.hold * steps))
    fallen = max(0.0, (step - start) / max(1, steps - start))
    return 1 - fallen if config.fall == "linear" else 0.5 * (1 + math.cos(math.pi * fallen))
