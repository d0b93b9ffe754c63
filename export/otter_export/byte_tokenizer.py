"""A tokenizer for weights that come without one: every byte is a token.

Random weights are asked and answer like any others with it. The ids beyond the bytes, which such
weights speak for the most part, read as their numbers. It knows no language.
"""

from __future__ import annotations

from itertools import count
from typing import Protocol

from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from otter_runtime.errors import UserError

SPACE = "\u0120"  # as byte-level vocabularies write it


class Tokens(Protocol):
    """The ids that a prompt is written with; a config's as well as a manifest's."""

    @property
    def image(self) -> int: ...

    @property
    def answer(self) -> int | None: ...

    @property
    def endofchunk(self) -> int: ...


def byte_tokenizer(tokens: Tokens, vocab: int) -> Tokenizer:
    """All `vocab` ids, the bytes at the lowest that `tokens` leaves free.

    Raises UserError where the vocabulary is too small for the bytes.
    """
    given = {tokens.image: "<image>", tokens.endofchunk: "<|endofchunk|>"}
    if tokens.answer is not None:
        given[tokens.answer] = "<answer>"
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    if vocab < len(alphabet) + len(given):
        raise UserError(
            f"a vocabulary of {vocab} has no room for {len(alphabet)} bytes and {len(given)} "
            "special tokens; take a larger one"
        )
    free = (at for at in count() if at not in given)
    names = dict(zip(free, alphabet, strict=False)) | given
    ids = {names.get(at, f"{SPACE}{at}"): at for at in range(vocab)}
    made = Tokenizer(models.BPE(vocab=ids, merges=[]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens(list(given.values()))
    return made
