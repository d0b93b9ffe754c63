"""The published Otters by name: their exact sizes, to run at full size without their weights."""

from __future__ import annotations

from otter_model.config import (
    FLAMINGO_NEOX_TOKENS,
    LLAMA_TOKENS,
    NEOX_TOKENS,
    DecoderConfig,
    OtterConfig,
    PerceiverConfig,
    VisionConfig,
)
from otter_model.errors import ConfigError

# OpenFlamingo trims the embedding to the tokenizer's length, where Otter keeps MPT's 50432 rows
# (open_flamingo `factory.py`).
_FLAMINGO_VOCAB = 50280


def _mpt_7b(vocab: int) -> DecoderConfig:
    return DecoderConfig(
        family="mpt",
        dim=4096,
        layers=32,
        heads=32,
        mlp_dim=16384,
        vocab=vocab,
        cross_attn_every=4,
    )


def _mpt_1b(vocab: int) -> DecoderConfig:
    return DecoderConfig(
        family="mpt1b",
        dim=2048,
        layers=24,
        heads=16,
        mlp_dim=8192,
        vocab=vocab,
        cross_attn_every=1,
        qk_norm=True,
    )


_LLAMA_7B = DecoderConfig(
    family="llama",
    dim=4096,
    layers=32,
    heads=32,
    mlp_dim=11008,
    vocab=32004,
    cross_attn_every=4,
    norm_eps=1e-6,
)

_VISION, _PERCEIVER = VisionConfig(), PerceiverConfig()

PUBLISHED: dict[str, OtterConfig] = {
    "otter-mpt1b": OtterConfig(_VISION, _PERCEIVER, _mpt_1b(50432), NEOX_TOKENS),
    "otter-mpt7b": OtterConfig(_VISION, _PERCEIVER, _mpt_7b(50432), NEOX_TOKENS),
    "otter-llama7b-video": OtterConfig(
        _VISION,
        PerceiverConfig(max_frames=128),
        _LLAMA_7B,
        LLAMA_TOKENS,
        use_cache=True,
    ),
    "openflamingo-3b": OtterConfig(
        _VISION, _PERCEIVER, _mpt_1b(_FLAMINGO_VOCAB), FLAMINGO_NEOX_TOKENS
    ),
    "openflamingo-9b": OtterConfig(
        _VISION, _PERCEIVER, _mpt_7b(_FLAMINGO_VOCAB), FLAMINGO_NEOX_TOKENS
    ),
}


def published(name: str) -> OtterConfig:
    """The config of a published model. Raises ConfigError with the known names."""
    try:
        return PUBLISHED[name]
    except KeyError:
        known = ", ".join(PUBLISHED)
        message = f"no published model is called {name!r}; choose one of {known}"
        raise ConfigError(message) from None
