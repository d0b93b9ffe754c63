"""What every engine can do: encode a frame, resample a window, prefill, decode one token.

The protocol says nothing about where tensors live or which library runs the graphs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Media:
    """Cross-attention K and V of one medium, (gated layers, heads, latents, head_dim) float32."""

    k: Floats
    v: Floats


class Cache(Protocol):
    """Self-attention K/V of one prompt; grows into a larger capacity when it has to."""

    @property
    def length(self) -> int:
        """Tokens held."""

    def truncate(self, length: int) -> None:
        """Keep the first `length` tokens; EngineError where fewer are held."""


class Engine(Protocol):
    """The three graphs of a bundle, ready to run. One caller at a time.

    `rows` is how many tokens `logits` takes for the price of about one.
    """

    rows: int

    def encode(self, pixels: Floats) -> Floats:
        """Pixels (n, 3, H, W) to features (n, patches, dim), the caller's to keep."""

    def resample(self, features: Floats) -> Media:
        """Features of one medium's frames (F, patches, dim) to its K and V."""

    def new_cache(self) -> Cache:
        """An empty cache of this engine's kind."""

    def prefill(
        self, cache: Cache, ids: Sequence[int], media_index: Sequence[int], media: Sequence[Media]
    ) -> Floats:
        """Append tokens to `cache`; logits (vocab,) of the last, valid until the next call.

        `media_index[t]` is the medium (1-based) that token t sees, 0 for none. Raises
        TooManyImages where it names a medium that is not there, PromptTooLong where the cache
        would pass the model's positions.
        """

    def logits(
        self, cache: Cache, ids: Sequence[int], media_index: Sequence[int], media: Sequence[Media]
    ) -> Floats:
        """As `prefill`, with the logits of every token: (tokens, vocab)."""

    def step(self, cache: Cache, token: int, media_index: int, media: Sequence[Media]) -> Floats:
        """Append one token; logits (vocab,), valid until the next call. Raises as `prefill`."""

    def describe(self) -> dict[str, Any]:
        """Backend, version, provider, threads, precisions: what a report should name."""
