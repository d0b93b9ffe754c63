"""Which parameters learn.

The paper's split: resampler, gated cross-attention and input embeddings (LLaMA: the output's too);
CLIP and the language model stay as they are. More may be freed by name, or LoRA put beside linear
layers (peft), on weights of 4 bits if memory is short (QLoRA, bitsandbytes).
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from otter_model.checkpoint import embedding_name
from otter_model.config import OtterConfig
from otter_model.otter import Otter
from otter_runtime.errors import MissingExtra, UserError

GATED = "gated_cross_attn_layer"
PARTS = ("resampler", "gated", "embeddings", "language", "vision")
PAPER = ("resampler", "gated", "embeddings")
DECAYED = GATED  # weight decay is for these alone (reference: `get_grouped_params`)


def part_of(name: str, config: OtterConfig) -> str:
    """The part (one of PARTS) that the parameter `name` of an Otter belongs to."""
    if name.startswith("vision_encoder."):
        return "vision"
    if name.startswith("perceiver."):
        return "resampler"
    if GATED in name:
        return "gated"
    tied = config.decoder.family != "llama"
    if name == embedding_name(config) or (not tied and name == "lang_encoder.lm_head.weight"):
        return "embeddings"
    return "language"


def choose(otter: Otter, parts: Iterable[str]) -> list[str]:
    """Let exactly the parameters of `parts` learn; their names. Raises UserError."""
    wanted = set(parts)
    if unknown := sorted(wanted - set(PARTS)):
        raise UserError(f"there is no part {unknown[0]!r} to train; there are {', '.join(PARTS)}")
    for name, parameter in otter.named_parameters():
        # Weights of 4 bits hold no floats to learn.
        free = parameter.is_floating_point() and part_of(name, otter.config) in wanted
        parameter.requires_grad_(free)
    return [name for name, parameter in otter.named_parameters() if parameter.requires_grad]


def groups(module: nn.Module, decay: float) -> list[dict[str, Any]]:
    """What learns, for AdamW: cross-attention's matrices with weight decay, the rest without."""
    learning = [(n, p) for n, p in module.named_parameters() if p.requires_grad]
    decayed = [p for n, p in learning if DECAYED in n and p.ndim > 1 and "lora_" not in n]
    chosen = {id(p) for p in decayed}
    others = [p for _, p in learning if id(p) not in chosen]
    return [
        {"params": decayed, "weight_decay": decay},
        {"params": others, "weight_decay": 0.0},
    ]


def quantize(otter: Otter) -> int:
    """The language model's own linear layers as NF4 (QLoRA, arXiv 2305.14314); how many."""
    try:
        bnb: Any = importlib.import_module("bitsandbytes")
    except ModuleNotFoundError as error:
        raise MissingExtra("bitsandbytes", "compare") from error
    found = [
        (name, part)
        for name, part in otter.named_modules()
        if isinstance(part, nn.Linear) and part_of(f"{name}.weight", otter.config) == "language"
    ]
    for name, linear in found:
        parent, _, last = name.rpartition(".")
        made = bnb.nn.Linear4bit(
            linear.in_features,
            linear.out_features,
            linear.bias is not None,
            compute_dtype=torch.float32,
            quant_type="nf4",
        )
        made.load_state_dict(linear.state_dict())
        setattr(otter.get_submodule(parent), last, made.to("cpu"))
    return len(found)


def add_lora(otter: Otter, rank: int, alpha: float, targets: tuple[str, ...]) -> dict[str, Any]:
    """LoRA beside every linear layer of the language model that ends in one of `targets`.

    What peft would write as adapter_config.json. Raises UserError where no layer ends so.
    """
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ModuleNotFoundError as error:
        raise MissingExtra("peft", "tuning") from error
    chosen = [
        name
        for name, part in otter.named_modules()
        if isinstance(part, nn.Linear)
        and part_of(f"{name}.weight", otter.config) == "language"
        and name.endswith(targets)
    ]
    if not chosen:
        raise UserError(f"no layer of the language model ends in {', '.join(targets)}")
    config = LoraConfig(r=rank, lora_alpha=alpha, target_modules=chosen, lora_dropout=0.0)  # type: ignore[arg-type]
    before = {name: p.requires_grad for name, p in otter.named_parameters()}
    inject_adapter_in_model(config, otter)
    for name, parameter in otter.named_parameters():
        plain = name.replace(".base_layer", "")
        parameter.requires_grad_("lora_" in name or before.get(plain, False))
    return {
        "peft_type": "LORA",
        "r": rank,
        "lora_alpha": alpha,
        "target_modules": chosen,
        "bias": "none",
        "lora_dropout": 0.0,
    }
