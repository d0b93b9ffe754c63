"""What a tuning run can be told; the defaults are the paper's, a YAML file only overrides."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

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


class AugmentConfig(msgspec.Struct, frozen=True, kw_only=True):
    """How a clip may look another time; all 0 changes nothing.

    `mirror` names the words that a mirror exchanges (left: right); where there are any, half of the
    clips are mirrored. `gain` is brightness, `tint` that of each colour alone, `offset` is added;
    of normalised pixels, drawn evenly from -1 to 1 times that.
    """

    mirror: dict[str, str] = {}
    gain: Share = 0.0
    tint: Share = 0.0
    offset: Annotated[float, msgspec.Meta(ge=0)] = 0.0


class ProbeConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Heads on dense labels (`labels_path` of a source): what their losses weigh beside the words'.

    For the first `steps` they are all there is. `weights` are of classes by name, 1 by default.
    """

    steps: Least = 0
    patches: Annotated[float, msgspec.Meta(ge=0)] = 0.5
    slots: Annotated[float, msgspec.Meta(ge=0)] = 1.0
    weights: dict[str, float] = {}


class TuneConfig(msgspec.Struct, frozen=True, kw_only=True):
    """One run. Paths begin where the YAML lies.

    `checkpoint` is a folder that `otter-edge export` reads, `mixture` and `validation` are grouped
    YAML files of MIMIC-IT. `train` names the parts that learn: resampler, gated, embeddings,
    language, vision. A sample has at most `examples` pairs before it and `frames` frames in a video
    (default: what the network tells apart, or 16). `batch` is per process; `accumulate` batches
    make a step; with `together` a batch counts clips and has all pairs about each, whose frames are
    then encoded once. The rate rises over `warmup`, stays until `hold` (shares of the run), and
    falls as a cosine or a line. `muon` is for networks from scratch: matrices by Muon, the rest by
    AdamW. `precision` is bf16 or fp32; `stored` what the result is rounded to.
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
    together: bool = False
    accumulate: Many = 1
    rate: Positive = 2e-5
    warmup: Share = 0.01
    hold: Share = 0.0
    fall: Literal["cosine", "linear"] = "cosine"
    optimizer: Literal["adamw", "muon"] = "adamw"
    betas: tuple[Share, Share] = (0.9, 0.999)
    decay: Annotated[float, msgspec.Meta(ge=0)] = 0.1
    clip: Positive = 1.0
    most_tokens: Many = 1024
    examples: Least = 2
    frames: Many | None = None
    squash: bool = False
    template: str = PromptFormat().example
    augment: AugmentConfig = AugmentConfig()
    probe: ProbeConfig | None = None
    precision: str = "bf16"
    stored: Literal["fp32", "fp16", "bf16"] = "fp32"
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
