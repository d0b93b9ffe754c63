"""Networks of every family that are complete but tiny, for tests and smoke runs."""

from __future__ import annotations

from otter_model.checkpoint import Checkpoint
from otter_model.config import (
    DecoderConfig,
    Family,
    OtterConfig,
    PerceiverConfig,
    Tokens,
    VisionConfig,
)
from otter_model.random_weights import RandomTensors

FAMILIES: tuple[Family, ...] = ("mpt", "mpt1b", "llama")


def tiny_config(family: Family, max_frames: int | None = None) -> OtterConfig:
    """16x16 pixels, 64 tokens, 64 positions, 4 layers of which 2 are gated."""
    decoder = DecoderConfig(
        family=family,
        dim=48,
        layers=4,
        heads=3,  # no power of two: ALiBi interleaves its slopes
        mlp_dim=96,
        vocab=64,
        cross_attn_every=2,
        max_positions=64,
        qk_norm=family == "mpt1b",
        cross_heads=2,
        cross_head_dim=8,
        cross_ff_mult=2,
    )
    return OtterConfig(
        vision=VisionConfig(image_size=16, patch_size=8, dim=24, layers=2, heads=2, mlp_dim=48),
        perceiver=PerceiverConfig(24, 2, latents=5, heads=2, head_dim=8, max_frames=max_frames),
        decoder=decoder,
        tokens=Tokens(image=61, answer=62, endofchunk=60, pad=63),
    )


def tiny_checkpoint(family: Family, max_frames: int | None = None, seed: int = 0) -> Checkpoint:
    """The tiny network with random weights in which pictures matter."""
    config = tiny_config(family, max_frames)
    return Checkpoint(config, RandomTensors(config, seed))
