"""Bytes in, bytes out; what is no byte reads as its number."""

from __future__ import annotations

from pathlib import Path

import pytest
from tokenizers import Tokenizer

from otter_export.byte_tokenizer import byte_tokenizer
from otter_model.config import FLAMINGO_NEOX_TOKENS, NEOX_TOKENS, Tokens


@pytest.mark.parametrize(
    ("tokens", "vocab"),
    [(NEOX_TOKENS, 50432), (Tokens(image=61, answer=62, endofchunk=60, pad=63), 300)],
)
def test_any_text_comes_back(tokens: Tokens, vocab: int, tmp_path: Path) -> None:
    byte_tokenizer(tokens, vocab).save(str(tmp_path / "tokenizer.json"))
    read = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    text = "<image>User: Où est-elle, \u6c34? GPT:<answer>"
    ids = read.encode(text, add_special_tokens=False).ids
    assert (ids[0], ids[-1]) == (tokens.image, tokens.answer)
    assert len(ids) == len(text.encode()) - len("<image><answer>") + 2
    assert max(ids) < vocab == read.get_vocab_size()
    assert read.decode(ids, skip_special_tokens=False) == text


def test_what_is_no_byte_reads_as_its_number() -> None:
    assert byte_tokenizer(NEOX_TOKENS, 50432).decode([40, 400, 50431]) == "I 400 50431"


def test_openflamingo_has_no_answer() -> None:
    assert byte_tokenizer(FLAMINGO_NEOX_TOKENS, 50432).token_to_id("<answer>") is None
