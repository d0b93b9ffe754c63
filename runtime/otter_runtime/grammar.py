"""Which tokens a sentence may go on with, where only certain sentences are allowed.

llguidance (https://github.com/guidance-ai/llguidance) walks a regular expression's derivatives
over the tokenizer's trie, so that every way to spell an allowed sentence is open and nothing else
is. This file knows tokens and expressions; it does not know skills or likelihoods.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from otter_runtime.bundle import Manifest
from otter_runtime.engine import Floats
from otter_runtime.errors import PromptError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

# A robot offers the same sentences again and again; compiling one takes about a millisecond.
MOST_COMPILED = 256


class Grammar:
    """A bundle's tokenizer, ready for expressions. Made once: it builds a trie of all tokens."""

    def __init__(self, tokenizer: Tokenizer, manifest: Manifest) -> None:
        from llguidance import LLTokenizer

        self.stop = (manifest.decoding.stop_ids or [manifest.tokens.endofchunk])[0]
        self._vocab = manifest.dims.decoder.vocab
        self._compiled: dict[str, Any] = {}
        self._tokenizer = LLTokenizer(
            tokenizer.to_str(), n_vocab=self._vocab, eos_token=self.stop, slices=[]
        )

    def matcher(self, expression: str) -> Matcher:
        """At the beginning of a sentence that `expression` matches as a whole.

        Raises PromptError where it is too large to be compiled.
        """
        if expression not in self._compiled:
            if len(self._compiled) >= MOST_COMPILED:
                del self._compiled[next(iter(self._compiled))]
            self._compiled[expression] = self._compile(expression)
        return Matcher(self._compiled[expression].deep_copy(), self._vocab, self.stop)

    def text(self, ids: list[int]) -> str:
        """What the tokens spell; the stop token spells nothing, half a character \ufffd."""
        spelled = [token for token in ids if token != self.stop]
        return str(self._tokenizer.decode_bytes(spelled).decode(errors="replace"))

    def _compile(self, expression: str) -> Any:
        from llguidance import LLMatcher

        inner = LLMatcher(self._tokenizer, LLMatcher.grammar_from_regex(expression), log_level=0)
        if inner.is_error():
            raise PromptError(f"the skills make no grammar ({_line(inner.get_error())})")
        return inner


class Matcher:
    """One sentence under way."""

    def __init__(self, inner: Any, vocab: int, stop: int) -> None:
        self._inner, self._stop = inner, stop
        self._mask = np.zeros((vocab + 31) // 32, np.int32)
        self._vocab = vocab

    def forced(self) -> list[int]:
        """The tokens that have to follow, as the tokenizer itself would cut them, taken.

        The stop token is among them where the sentence is complete; none where there is a choice.
        """
        ids = [int(token) for token in self._inner.compute_ff_tokens()]
        if ids and not self._inner.consume_tokens(ids):
            raise PromptError(f"the skills' grammar failed ({_line(self._inner.get_error())})")
        return [*ids, self._stop] if self._inner.is_stopped() else ids

    def choose(self, logits: Floats) -> tuple[int, float]:
        """The likeliest token (vocab,) that may follow, taken, and its log share among those.

        The stop token may be one of them.
        """
        allowed = np.flatnonzero(self.allowed())
        shares = logits[allowed].astype(np.float64)
        best = int(shares.argmax())
        token = int(allowed[best])
        if token != self._stop and not self._inner.consume_token(token):
            raise PromptError(f"the skills' grammar failed ({_line(self._inner.get_error())})")
        return token, float(shares[best] - logsumexp(shares))

    def allowed(self) -> NDArray[np.bool_]:
        """Which tokens may follow, (vocab,)."""
        self._inner.unsafe_compute_mask_ptr(self._mask.ctypes.data, self._mask.nbytes)
        bits = np.unpackbits(self._mask.view(np.uint8), bitorder="little")
        if self._inner.is_error() or not bits.any():
            raise PromptError(f"the skills' grammar failed ({_line(self._inner.get_error())})")
        return bits[: self._vocab].astype(np.bool_)


def quoted(text: str) -> str:
    """An expression that matches `text` and nothing else."""
    return "".join(
        one if one.isalnum() and one.isascii() else f"\\x{{{ord(one):x}}}" for one in text
    )


def logsumexp(values: NDArray[np.float64]) -> float:
    """log(sum(exp(values))), without overflow."""
    peak = values.max()
    return float(peak + np.log(np.exp(values - peak).sum()))


def _line(text: str) -> str:
    return " ".join(text.split())[:200]
