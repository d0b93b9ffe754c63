"""Which self-attention K/V may be used again: the longest common prefix, and nothing else.

Two prompts share K/V for as long as they agree in (token id, content hash of the medium that the
token sees). That is all those K/V depend on, so reuse needs no other argument.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from otter_runtime.engine import Cache

Token = tuple[int, bytes]  # id, content hash of the medium it sees (empty where it sees none)


@dataclass(eq=False)
class Held:
    """A cache and the tokens whose K/V it holds."""

    cache: Cache
    tokens: list[Token] = field(default_factory=list)

    def keep(self, length: int) -> None:
        """Forget everything after the first `length` tokens."""
        self.cache.truncate(length)
        del self.tokens[length:]


class Shelf:
    """A few caches waiting to be used again, the last used first.

    Two are enough: one for the standing instruction, one for what interrupts it.
    """

    def __init__(self, new_cache: Callable[[], Cache], places: int = 2) -> None:
        self._new_cache = new_cache
        self._places = places
        self._free: list[Held] = []
        self._made = 0

    def take(self, tokens: list[Token]) -> Held:
        """The free cache that shares most with `tokens`, cut to what they share.

        At least the last token is left to be computed: its logits are what the caller wants.
        """
        best, shared = None, 0
        for held in self._free:
            # Among equals the longest unused, so that fresh prefixes survive.
            if (length := common(held.tokens, tokens)) >= shared:
                best, shared = held, length
        if best is None or (not shared and self._made < self._places):
            self._made += 1
            return Held(self._new_cache())
        self._free.remove(best)
        best.keep(min(shared, len(tokens) - 1))
        return best

    def give_back(self, held: Held) -> None:
        """Put a cache back with what it holds; the longest unused leaves where it gets crowded."""
        self._free.insert(0, held)
        del self._free[self._places :]


def common(left: list[Token], right: list[Token]) -> int:
    """Length of the longest common prefix."""
    length = 0
    for one, other in zip(left, right, strict=False):
        if one != other:
            break
        length += 1
    return length
