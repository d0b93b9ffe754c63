"""The tokenizer.json that goes into a bundle: as it is, converted, or with the tokens it lacks.

A language model's own tokenizer knows nothing of `<image>`; Otter and OpenFlamingo add their tokens
when they start, so their folders may have it without them.
"""

from __future__ import annotations

from pathlib import Path

from tokenizers import AddedToken, Tokenizer

from otter_export.tokenizer_conversion import MERGES, from_sentencepiece, from_vocabulary
from otter_model.checkpoint import tokenizer_in
from otter_model.config import Tokens
from otter_runtime.errors import UserError

TOKENIZER = "tokenizer.json"


def completed(path: Path, tokens: Tokens, folder: Path) -> Path:
    """`path` if it is a tokenizer.json with `tokens`' ids, else a completed copy in `folder`.

    `path` may be a tokenizer.json, a SentencePiece model, a merges.txt beside its vocab.json, or a
    folder with one of them. Tokens are added in the order of their ids, behind what is there.
    Raises UserError where an id is not the checkpoint's.
    """
    path = (tokenizer_in(path) or path / TOKENIZER) if path.is_dir() else path
    tokenizer = _read(path)
    complete = all(tokenizer.token_to_id(text) == at for text, at in _needed(tokens).items())
    if complete and path.suffix == ".json":
        return path
    named = sorted({**_needed(tokens), "<PAD>": tokens.pad}.items(), key=lambda item: item[1])
    for text, _ in named:
        if tokenizer.token_to_id(text) is None:
            tokenizer.add_special_tokens([AddedToken(text, special=True, normalized=False)])
    for text, at in named:
        if (got := tokenizer.token_to_id(text)) != at:
            raise UserError(
                f"{text} should be token {at} as in the checkpoint, but is {got} by {path}; "
                "give the tokenizer that belongs to the checkpoint (--tokenizer)"
            )
    (folder / TOKENIZER).write_text(tokenizer.to_str(), encoding="utf-8")
    return folder / TOKENIZER


def _needed(tokens: Tokens) -> dict[str, int]:
    """What prompts are written with, by text."""
    needed = {"<|endofchunk|>": tokens.endofchunk, "<image>": tokens.image}
    return needed if tokens.answer is None else {**needed, "<answer>": tokens.answer}


def _read(file: Path) -> Tokenizer:
    if file.suffix == ".model":
        return from_sentencepiece(file)
    if file.name == MERGES:
        return from_vocabulary(file.parent)
    try:
        return Tokenizer.from_file(str(file))
    except Exception as error:  # the library raises Exception itself, for every kind of fault
        raise UserError(
            f"{file} should be a tokenizer.json of the tokenizers library, but is not readable "
            f"({error}); give that, a tokenizer.model, or a merges.txt beside its vocab.json"
        ) from None
