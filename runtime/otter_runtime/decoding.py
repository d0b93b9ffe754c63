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
        self._log_probability = 0.0
        shifted = (self._context[at:] for at in range(controls.no_repeat_ngram))
        self._said = set(zip(*shifted, strict=False))  # every n-gram

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
        self._said.add(self._tail(self.controls.no_repeat_ngram))
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
        token, allowed = int(logits.argmax()), logits
        while self._bans(token) and allowed[token] > -np.inf:
            allowed = logits.copy() if allowed is logits else allowed
            allowed[token] = -np.inf
            token = int(allowed.argmax())
        return token

    def _bans(self, token: int) -> bool:
        size = self.controls.no_repeat_ngram
        return (
            token in self._always
            or (size > 0 and (*self._tail(size - 1), token) in self._said)
            or any(token == last and self._ends_with(start) for *start, last in self._words)
        )

    def _ends_with(self, ids: Sequence[int]) -> bool:
        return self._tail(len(ids)) == tuple(ids)

    def _tail(self, length: int) -> tuple[int, ...]:
        return tuple(self._context[-length:]) if length else ()


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
    own = float(below[token])
    return own - math.log(np.exp(below, out=below).sum())
