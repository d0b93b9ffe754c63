"""LoRA as peft saves it, merged into the weights it belongs to: W + s·B·A.

A is (r, in), B (out, r), W (out, in); s is alpha/r, with rank-stabilised LoRA alpha/√r. The sum is
made in float32 when the tensor is read. An option that would compute anything else is refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from otter_model.errors import CheckpointError
from otter_model.tensors import Entries, Entry, listed
from otter_model.weights import open_weights, read_json

ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_FILES = ("adapter_model.safetensors", "adapter_model.bin")

_FACTOR = re.compile(
    r"^(?:base_model\.model\.)?(?P<module>.+)\.lora_(?P<side>[AB])(?:\.default)?\.weight$"
)
_BLOCK = re.compile(r"^((?:transformer\.blocks|model\.layers)\.\d+)\.")
_NUMBER = re.compile(r"\.\d+\.")

# Of adapter_config.json: what says nothing about the arithmetic …
_NEUTRAL = {
    "auto_mapping",
    "base_model_name_or_path",
    "inference_mode",
    "layers_pattern",
    "lora_dropout",
    "megatron_core",
    "peft_version",
    "qalora_group_size",  # of use_qalora, which must be false
    "revision",
    "runtime_config",
    "task_type",
}
# … what this file computes with …
_USED = {"r", "lora_alpha", "use_rslora", "target_modules"}
# … and what must be so. Any other option must be empty: null, false, {} or [].
_REQUIRED: dict[str, tuple[Any, ...]] = {
    "peft_type": ("LORA",),
    "bias": ("none",),
    # PiSSA, OLoRA, LoftQ and the like change the base weights too.
    "init_lora_weights": (True, False, "gaussian", None),
}


@dataclass(frozen=True)
class Lora:
    """One adapter: pairs A, B by the name of the module that peft wrapped."""

    scale: float
    pairs: dict[str, tuple[Entry, Entry]]
    source: str

    @staticmethod
    def open(folder: Path) -> Lora:
        """Reads config and names. Raises CheckpointError for anything that is not plain LoRA."""
        config = read_json(folder / ADAPTER_CONFIG)
        _require_plain(folder / ADAPTER_CONFIG, config)
        entries = open_weights(folder, ADAPTER_FILES)
        rank = int(config["r"])
        scale = config["lora_alpha"] / (rank**0.5 if config.get("use_rslora") else rank)
        return Lora(float(scale), _pairs(entries, rank, str(folder)), str(folder))

    def merge(self, base: Entries) -> Entries:
        """`base` with every pair added to its weight.

        Raises CheckpointError where a pair has no weight in the base, or a layer that should be
        adapted as its neighbours are has no pair.
        """
        names = {module: self._weight(module, base) for module in self.pairs}
        self._require_all_layers(set(names.values()), base)
        merged = {
            name: self._merged(name, base[name], *self.pairs[module])
            for module, name in names.items()
        }
        return base | merged

    def _weight(self, module: str, base: Entries) -> str:
        """peft may have wrapped the whole Otter, its language model, or that model on its own."""
        alone = _BLOCK.sub(r"\1.decoder_layer.", module)
        for name in (module, f"lang_encoder.{module}", f"lang_encoder.{alone}"):
            if f"{name}.weight" in base:
                return f"{name}.weight"
        raise CheckpointError(
            f"{self.source} adapts {module!r}, which the checkpoint does not have; "
            "give the adapter of this checkpoint"
        )

    def _require_all_layers(self, adapted: set[str], base: Entries) -> None:
        alike = {_NUMBER.sub(".*.", name, count=1) for name in adapted}
        missing = {name for name in base if _NUMBER.sub(".*.", name, count=1) in alike} - adapted
        if missing:
            raise CheckpointError(
                f"{self.source} lacks the adapter of {listed(missing)}, although it has that of "
                "the same part in other layers; fetch it again"
            )

    def _merged(self, name: str, weight: Entry, a: Entry, b: Entry) -> Entry:
        if (b.shape[0], a.shape[1]) != weight.shape:
            raise CheckpointError(
                f"{name} should have shape {(b.shape[0], a.shape[1])} by {self.source}, "
                f"but has {weight.shape}; give the adapter of this checkpoint"
            )

        def read() -> Tensor:
            return weight.read().float() + self.scale * (b.read().float() @ a.read().float())

        return Entry(weight.shape, weight.floating, read)


def _pairs(entries: Entries, rank: int, source: str) -> dict[str, tuple[Entry, Entry]]:
    sides: dict[str, dict[str, Entry]] = {"A": {}, "B": {}}
    for name, entry in entries.items():
        found = _FACTOR.match(name)
        if found is None or len(entry.shape) != 2:
            raise CheckpointError(
                f"{source} has {name!r} of shape {entry.shape}, which is not LoRA of a linear "
                "layer; merge the adapter with peft (merge_and_unload) and give the whole"
            )
        if entry.shape[0 if found["side"] == "A" else 1] != rank:
            raise CheckpointError(
                f"{name} of {source} should have rank {rank} by {ADAPTER_CONFIG}, but has shape "
                f"{entry.shape}; they do not belong together"
            )
        sides[found["side"]][found["module"]] = entry
    if not entries or (lonely := set(sides["A"]) ^ set(sides["B"])):
        what = f"one of A and B of {listed(lonely)}" if entries else "any tensor"
        raise CheckpointError(f"{source} lacks {what}; fetch the adapter again")
    return {module: (a, sides["B"][module]) for module, a in sides["A"].items()}


def _require_plain(path: Path, config: Mapping[str, Any]) -> None:
    for option, value in config.items():
        if option in _NEUTRAL | _USED:
            continue
        allowed = value in _REQUIRED[option] if option in _REQUIRED else not value
        if not allowed:
            raise CheckpointError(
                f"{option} of {path} is {value!r}, which is not supported; "
                "merge the adapter with peft (merge_and_unload) and give the whole"
            )
    for option in ("r", "lora_alpha"):
        value = config.get(option)
        if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
            raise CheckpointError(
                f"{option} of {path} should be a positive number, but is {value!r}; fetch it again"
            )
