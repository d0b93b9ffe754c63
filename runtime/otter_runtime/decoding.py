"""Greedy decoding, one token at a time, with the controls that the manifest asks for.

It knows logits and ids; it does not know what they mean or where they come from. The rules are
those of the reference's generation (no_repeat_ngram, bad words over prompt and answer), plus
one of ours: `<image>` is never generated, because no medium stands behind it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from otter_runtime.bundle import Decoding, Tokens
from otter_runtime.errors import EngineError


class Decoder:
    """The state of one answer: `ids` so far, and how sure the model was of them."""

    def __init__(self, controls: Decoding, tokens: Tokens, prompt: Sequence[int] = ()) -> None:
        """`prompt` counts for the n-gram and bad-word rules, as it does in the reference."""
        self.ids: list[int] = []
        self.controls = controls
        self._context = list(prompt)
        self._always = frozenset(
            [tokens.image, *(word[0] for word in controls.bad_words if len(word) == 1)]
        )
        self._words = [word for word in controls.bad_words if len(word) > 1]
        self._stop = frozenset(controls.stop_ids or [tokens.endofchunk])
        self._followers: dict[tuple[int, ...], set[int]] = {}
        self._log_probability = 0.0
        if controls.no_repeat_ngram > 0:
            for end in range(1, len(self._context) + 1):
                self._remember(end)

    def next(self, logits: NDArray[np.float32]) -> int | None:
        """The next token for `logits` (vocab,), or None where the answer ends.

        The logits are not changed. Raises EngineError where NaN or infinity is among them.
        """
        if self.full:
            return None
        token = self._choose(logits)
        log_probability = log_softmax_at(logits, token)
        if token in self._stop:
            return None
        self._log_probability += log_probability
        self.ids.append(token)
        self._context.append(token)
        self._remember(len(self._context))
        return token

    @property
    def full(self) -> bool:
        """Whether it has as many tokens as it may."""
        return len(self.ids) >= self.controls.max_new_tokens

    @property
    def confidence(self) -> float:
        """Geometric mean of the chosen tokens' probabilities, 0 where there are none."""
        return float(np.exp(self._log_probability / len(self.ids))) if self.ids else 0.0

    def _choose(self, logits: NDArray[np.float32]) -> int:
        token = int(logits.argmax())
        banned = self._banned()
        if token not in banned:
            return token
        allowed = logits.copy()
        allowed[list(banned)] = -np.inf
        return int(allowed.argmax())

    def _banned(self) -> set[int]:
        banned = set(self._always)
        size = self.controls.no_repeat_ngram
        if size > 0 and len(self._context) + 1 >= size:
            banned |= self._followers.get(self._tail(size - 1), set())
        for word in self._words:
            if tuple(word[:-1]) == self._tail(len(word) - 1):
                banned.add(word[-1])
        return banned

    def _tail(self, length: int) -> tuple[int, ...]:
        return tuple(self._context[len(self._context) - length :]) if length else ()

    def _remember(self, end: int) -> None:
        size = self.controls.no_repeat_ngram
        if 0 < size <= end:
            *start, last = self._context[end - size : end]
            self._followers.setdefault(tuple(start), set()).add(last)


def log_softmax_at(logits: NDArray[np.float32], token: int) -> float:
    """The log probability of `token` under `logits` (vocab,).

    Raises EngineError where NaN or infinity is among them: such a model says nothing at all.
    """
    peak = logits.max()  # NaN where one of them is
    if not math.isfinite(peak):
        raise EngineError(
            "the model's scores are no numbers (NaN or infinity), as where half precision "
            "overflows; check the bundle with `otter-edge verify`, or export it in another one"
        )
    below = logits - peak
    own = below[token]
    return float(own - np.log(np.exp(below, out=below).sum()))
