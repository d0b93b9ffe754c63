"""OpenFlamingo: what it trained (`checkpoint.pt`), over CLIP and the language model it began from.

Its names become Otter's. How often a gated layer comes is read off the names; the perceiver's and
the gated layers' inner sizes are the published constants unless overridden.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from otter_model.clip import open_clip
from otter_model.config import FLAMINGO_LLAMA_TOKENS, FLAMINGO_NEOX_TOKENS, OtterConfig, Tokens
from otter_model.errors import CheckpointError
from otter_model.tensors import Entries, listed
from otter_model.trained_part import lay_over
from otter_model.weights import open_weights, read_json

# OpenFlamingo numbers the parts of a perceiver layer, and shortens feed_forward in gated ones.
_RENAMES = (
    (re.compile(r"^(perceiver\.layers\.\d+)\.0\."), r"\1."),
    (re.compile(r"^(perceiver\.layers\.\d+)\.1\."), r"\1.feed_forward."),
    (re.compile(r"(\.gated_cross_attn_layer)\.ff\."), r"\1.feed_forward."),
)
_GATED = re.compile(r"^lang_encoder\..*\.(\d+)\.gated_cross_attn_layer\.")
_BLOCK = re.compile(r"^((?:transformer\.blocks|model\.layers)\.\d+)\.")
_TABLE, _HEAD = "lang_encoder.model.embed_tokens.weight", "lang_encoder.lm_head.weight"
_OWN = re.compile(r"^perceiver\.|\.gated_cross_attn_layer\.")


def open_flamingo(
    checkpoint: Path, clip: Path, language: Path, overrides: Mapping[str, Any] | None = None
) -> tuple[OtterConfig, Entries]:
    """Config and tensors of the three together; no weights are read.

    `language` is the language model's folder with its config.json; `overrides` goes over an
    `otter_edge` block there. Raises CheckpointError or ConfigError.
    """
    vision, eyes = open_clip(clip)
    text = read_json(language / "config.json")
    edge = {**(text.get("otter_edge") or {}), **(overrides or {})}
    trained = {_our_name(name): entry for name, entry in open_weights(checkpoint).items()}
    raw = {
        "text_config": text,
        "vision_config": vision,
        "cross_attn_every_n_layers": _every(checkpoint, trained),
        "otter_edge": edge,
    }
    config = OtterConfig.from_dict(raw)
    if not edge.get("tokens"):
        config = replace(config, tokens=flamingo_tokens(config))
    base = eyes | {_under_otter(name): entry for name, entry in open_weights(language).items()}
    base |= _resized_head(base, trained)
    # Its cached decoding sees the picture, unlike Otter's, whatever the language model's config is.
    return replace(config, use_cache=False), _together(base, trained, checkpoint.name)


def flamingo_tokens(config: OtterConfig) -> Tokens:
    """OpenFlamingo adds no <answer>: the id that Otter gives it is its pad's."""
    return FLAMINGO_LLAMA_TOKENS if config.decoder.family == "llama" else FLAMINGO_NEOX_TOKENS


def _together(base: Entries, trained: Entries, source: str) -> Entries:
    """The base has neither resampler nor gated layers: those are the checkpoint's alone."""
    own = {name: entry for name, entry in trained.items() if _OWN.search(name)}
    rest = {name: entry for name, entry in trained.items() if name not in own}
    return own | lay_over(base, rest, source)


def _resized_head(base: Entries, trained: Entries) -> Entries:
    """LLaMA's output projection with a row for each token that OpenFlamingo added.

    It adds rows to both tables but trains, and saves, those of the input alone (open_flamingo
    `factory.py`, `train_utils.py`): the head's new rows are random in each of its runs. Zeros are
    what those are on average; nobody should sample a token that was never trained to come out.
    """
    if _HEAD in trained or _TABLE not in trained or _HEAD not in base:
        return {}
    return {_HEAD: base[_HEAD].resized(trained[_TABLE].shape[0])}


def _our_name(name: str) -> str:
    for pattern, replacement in _RENAMES:
        name = pattern.sub(replacement, name)
    return name


def _under_otter(name: str) -> str:
    """The language model's own name, as Otter has it."""
    return "lang_encoder." + _BLOCK.sub(r"\1.decoder_layer.", name)


def _every(checkpoint: Path, trained: Entries) -> int:
    """Gated layers stand before the layers every-1, 2·every-1, …: the first tells `every`."""
    layers = {int(found[1]) for name in trained if (found := _GATED.match(name))}
    if not layers:
        raise CheckpointError(
            f"{checkpoint} should hold an OpenFlamingo's gated_cross_attn_layer tensors, but has "
            f"{listed(set(trained), 3)}; give its checkpoint.pt"
        )
    return min(layers) + 1
