"""Writing an answer, token by token, exactly as the reference would: greedy, with a K/V cache.

Two modes. `seeing`: every generated token attends the last medium of its text, as in training;
equal to recomputing everything at each step. `blind`: what the reference's own cached decoding
does, where generated tokens count `<image>` from zero, so they attend nothing (only the gated
feed-forward still runs).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from otter_model.cross_attention import Media
from otter_model.decoder import Cache
from otter_model.errors import PromptError
from otter_model.otter import Otter

Mode = Literal["seeing", "blind"]


@dataclass(frozen=True)
class Controls:
    """What may be generated. `max_new_tokens` includes the stop token, which ends an answer."""

    max_new_tokens: int = 512
    no_repeat_ngram: int = 0
    bad_words: tuple[tuple[int, ...], ...] = ()
    mode: Mode = "seeing"

    def banned(self, history: Sequence[int]) -> list[int]:
        """Ids that may not follow `history` (with the prompt): ends of repeats and bad words."""
        ids = _ends_of_repeats(history, self.no_repeat_ngram)
        for *start, end in self.bad_words:
            if not start or list(history[-len(start) :]) == start:
                ids.append(end)
        return ids


@dataclass(frozen=True)
class Generated:
    """An answer: its ids (the stop token included, if it came) and their logits (len(ids),V)."""

    ids: list[int]
    logits: Tensor


@dataclass(frozen=True)
class Reading:
    """A prompt that the network has read: one row, or one row per beam."""

    cache: Cache
    media: Media
    images: Tensor  # (B,) int64: `<image>` counted so far
    logits: Tensor  # (B, V) of the last token

    def rows(self, index: Tensor) -> Reading:
        """The rows `index` (n,) int64, repeated or reordered; the media stay one row, shared."""
        return Reading(self.cache.rows(index), self.media, self.images[index], self.logits[index])


@torch.no_grad()
def read(otter: Otter, media: Media, ids: Sequence[int]) -> Reading:
    """Runs the prompt `ids` (without pads) with the media of one row.

    Raises TooManyImages, PromptTooLong, or PromptError for an empty prompt.
    """
    if not ids:
        raise PromptError("the prompt has no tokens; give at least one")
    tokens = torch.tensor([list(ids)], device=media.k[0].device)
    otter.check_images(tokens, media.count)
    index = otter.media_index(tokens)
    hidden, cache = otter.hidden(tokens, index, media)
    return Reading(cache, media, index[:, -1], otter.head(hidden[:, -1]))


@torch.no_grad()
def advance(otter: Otter, reading: Reading, tokens: Tensor, mode: Mode) -> Reading:
    """Appends one generated token per row; tokens (B,) int64."""
    new = (tokens == otter.config.tokens.image).to(torch.int64)
    images = reading.images + new
    index = (images if mode == "seeing" else new).unsqueeze(1)
    logits, cache = otter.decode(tokens.unsqueeze(1), index, reading.media, reading.cache)
    return Reading(cache, reading.media, images, logits[:, -1])


def greedy(
    otter: Otter,
    media: Media,
    ids: Sequence[int],
    controls: Controls,
    mask: Sequence[int] | None = None,
) -> Generated:
    """The likeliest token at each step, until `<|endofchunk|>` or `max_new_tokens`.

    mask marks pads in `ids` with 0: the network does not see them, the n-gram rule does (as in the
    reference).
    """
    history = list(ids)
    reading = read(otter, media, unpadded(ids, mask))
    rows: list[Tensor] = []
    while True:
        logits = reading.logits[0].clone()
        rows.append(reading.logits[0])
        logits[controls.banned(history)] = -torch.inf
        history.append(int(logits.argmax()))
        if history[-1] == otter.config.tokens.endofchunk or len(rows) == controls.max_new_tokens:
            return Generated(history[len(ids) :], torch.stack(rows))
        reading = advance(
            otter, reading, torch.tensor(history[-1:], device=media.k[0].device), controls.mode
        )


def unpadded(ids: Sequence[int], mask: Sequence[int] | None) -> list[int]:
    """The ids whose mask is not 0."""
    return list(ids) if mask is None else [i for i, kept in zip(ids, mask, strict=True) if kept]


def _ends_of_repeats(history: Sequence[int], n: int) -> list[int]:
    """Every id that followed the last n-1 ids before."""
    if n == 0 or len(history) < n:
        return []
    start = list(history[len(history) - n + 1 :])
    spots = range(len(history) - n + 1)
    return [history[i + n - 1] for i in spots if list(history[i : i + n - 1]) == start]
