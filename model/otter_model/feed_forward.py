"""The feed-forward of the perceiver and the gated blocks: LayerNorm, Linear, erf-GELU, Linear."""

from torch import nn


def feed_forward(dim: int, mult: int) -> nn.Sequential:
    """(…,dim) -> (…,dim), no residual; parameters are named 0, 1 and 3, as the reference's."""
    inner = dim * mult
    return nn.Sequential(
        nn.LayerNorm(dim),
        nn.Linear(dim, inner, bias=False),
        nn.GELU(),
        nn.Linear(inner, dim, bias=False),
    )
