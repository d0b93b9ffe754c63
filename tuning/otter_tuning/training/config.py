"""What a tuning run can be told; the defaults are the paper's, a YAML file only overrides."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec

from otter_robots import settings
from otter_runtime.bundle import PromptFormat

Many = Annotated[int, msgspec.Meta(ge=1)]
Least = Annotated[int, msgspec.Meta(ge=0)]
Positive = Annotated[float, msgspec.Meta(gt=0)]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]


class LoraConfig(msgspec.Struct, frozen=True, kw_only=True):
    """LoRA beside the language model's layers that end in `targets`; `bits` 4 is QLoRA."""

    rank: Many = 16
    alpha: Positive = 32.0
    targets: tuple[str, ...] = ("q_proj", "v_proj", "Wqkv")
    bits: int | None = None


class TuneConfig(msgspec.Struct, frozen=True, kw_only=True):
    """One run. Paths begin where the YAML lies.

    `checkpoint` is a folder that `otter-edge export` reads, `mixture` and `validation` are grouped
    YAML files of MIMIC-IT. `train` names the parts that learn: resampler, gated, embeddings,
    language, vision. A sample has at most `examples` pairs before it and `frames` frames in a video
    (default: what the network tells apart, or 16). `batch` is per process; `accumulate` batches
    make a step. `precision` is bf16 or fp32.
    """

    checkpoint: str
    mixture: str
    out: str
    validation: str | None = None
    tokenizer: str | None = None
    train: tuple[str, ...] = ("resampler", "gated", "embeddings")
    lora: LoraConfig | None = None
    epochs: Many = 3
    steps: Many | None = None
    batch: Many = 8
    accumulate: Many = 1
    rate: Positive = 2e-5
    warmup: Share = 0.01
    decay: Annotated[float, msgspec.Meta(ge=0)] = 0.1
    clip: Positive = 1.0
    most_tokens: Many = 1024
    examples: Least = 2
    frames: Many | None = None
    squash: bool = False
    template: str = PromptFormat().example
    precision: str = "bf16"
    seed: int = 0
    report_every: Many = 10
    validate_every: Many = 200
    keep_every: Many = 200


def read_config(path: Path, overrides: dict[str, object] | None = None) -> TuneConfig:
    """The run at `path`, its paths made to begin there. Raises UserError."""
    config = settings.read(TuneConfig, path, overrides)
    folder = path.parent
    given = {
        name: str(folder / value)
        for name in ("checkpoint", "mixture", "validation", "tokenizer", "out")
        if (value := getattr(config, name)) is not None
    }
    return msgspec.structs.replace(config, **given)
