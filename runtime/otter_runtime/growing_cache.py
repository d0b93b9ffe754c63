"""How many tokens a cache of K/V holds and when it needs more room; not where they lie.

Graphs are bound, and engines built, for a few capacities: a cache moves into the next that fits.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from otter_runtime.errors import EngineError, PromptTooLong


class GrowingCache(ABC):
    """Self-attention K/V of one prompt: `length` tokens held, `capacity` that fit."""

    def __init__(self, capacities: Sequence[int]) -> None:
        self.length = 0
        self._capacities = sorted(capacities)
        self.capacity = self._capacities[0]

    def truncate(self, length: int) -> None:
        """Keep the first `length` tokens; EngineError where fewer are held."""
        if not 0 <= length <= self.length:
            raise EngineError(f"the cache holds {self.length} tokens, it cannot keep {length}")
        self.length = length

    def reserve(self, length: int) -> None:
        """Make room for `length` tokens; PromptTooLong where no capacity is that large."""
        if length <= self.capacity:
            return
        larger = next((size for size in self._capacities if size >= length), None)
        if larger is None:
            raise PromptTooLong(length, self._capacities[-1])
        self._move(larger)
        self.capacity = larger

    @abstractmethod
    def _move(self, capacity: int) -> None:
        """Take the tokens held into a buffer of `capacity`."""
