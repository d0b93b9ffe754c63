"""How an answer comes about once its prompt is in the cache, and the simplest way: free words.

A voice says which tokens to put after the prompt and hears the logits that follow each of them. It
knows neither engine nor cache, so the step loop stays in charge: what a voice asks for is one step,
and anything else may go ahead of the next.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from otter_robots.skill import Choice
from otter_runtime.decoding import Decoder
from otter_runtime.draft import Drafts
from otter_runtime.engine import Floats

if TYPE_CHECKING:
    from tokenizers import Tokenizer


class Voice(Protocol):
    """An answer under way."""

    @property
    def done(self) -> bool:
        """Whether the answer is complete."""

    @property
    def begun(self) -> bool:
        """Whether anything of the answer is decided."""

    @property
    def text(self) -> str:
        """The answer as far as it stands."""

    @property
    def confidence(self) -> float:
        """0 to 1."""

    @property
    def choices(self) -> tuple[Choice, ...]:
        """What a robot could do instead, where it offered skills."""

    @property
    def width(self) -> int:
        """How many tokens `next` puts."""

    def next(self) -> tuple[int, list[int]]:
        """How many tokens of the answer to keep after the prompt, and which to put behind them."""

    def hear(self, rows: Floats) -> None:
        """The logits after each token that was put, (tokens, vocab); first those of the prompt."""


class Speech:
    """Free words, greedily: one token at a time, and as many more as a draft had right."""

    choices: tuple[Choice, ...] = ()

    def __init__(self, decoder: Decoder, tokenizer: Tokenizer, drafts: Drafts) -> None:
        self.done = False
        self._decoder, self._tokenizer, self._drafts = decoder, tokenizer, drafts
        self._draft: list[int] = []

    @property
    def begun(self) -> bool:
        """Whether there is a first token."""
        return bool(self._decoder.ids)

    @property
    def text(self) -> str:
        """What was said so far."""
        return self._tokenizer.decode(self._decoder.ids, skip_special_tokens=True).lstrip()

    @property
    def confidence(self) -> float:
        """Of all tokens together."""
        return self._decoder.confidence

    @property
    def width(self) -> int:
        """The newest token, and the draft."""
        return 1 + len(self._draft)

    def next(self) -> tuple[int, list[int]]:
        """The newest token goes behind all others, and what may follow it."""
        ids = self._decoder.ids
        return len(ids) - 1, [*ids[-1:], *self._draft]

    def hear(self, rows: Floats) -> None:
        """Choose token after token, as long as the draft has the same; the answer may end."""
        for row, drafted in zip(rows, [*self._draft, None], strict=True):
            self.done = self._decoder.next(row) is None or self._decoder.full
            if self.done or self._decoder.ids[-1] != drafted:
                break
        ids = self._decoder.ids
        self._draft = self._drafts.after(ids, self._decoder.controls.max_new_tokens - len(ids) - 1)
        if self.done:
            self._drafts.remember(ids)
