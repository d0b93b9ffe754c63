"""The one attention that every part of Otter uses: plain matmul, softmax, matmul.

On a CPU this is faster in training than PyTorch's fused attention, whose backward recomputes the
scores.
"""

from __future__ import annotations

import torch
from torch import Tensor


def attend(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None = None) -> Tensor:
    """q (B,heads,n,d), already scaled; k, v (B or 1,heads,m,d); bias fits (B,heads,n,m).

    Returns (B,n,heads·d), ready for the output projection.
    """
    scores = torch.matmul(q, k.transpose(-1, -2))  # (B, heads, n, m)
    if bias is not None:
        scores = scores.add_(bias)  # in place: matmul does not need its result for backward
    return merge_heads(torch.matmul(scores.softmax(dim=-1), v))


def split_heads(x: Tensor, heads: int) -> Tensor:
    """(B,n,heads·d) -> (B,heads,n,d), a view."""
    return x.reshape(*x.shape[:-1], heads, x.shape[-1] // heads).transpose(1, 2)


def merge_heads(x: Tensor) -> Tensor:
    """(B,heads,n,d) -> (B,n,heads·d)."""
    return x.transpose(1, 2).flatten(2)
