"""SentencePiece's and GPT-NeoX's files, converted: ids equal to what the originals give."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import sentencepiece
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import (
    AddedToken,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    trainers,
)

from otter_export.tokenizer_conversion import from_sentencepiece, from_vocabulary
from otter_export.tokenizer_file import completed
from otter_model.config import Tokens
from otter_runtime.errors import UserError

SPECIALS = ["<|endofchunk|>", "<image>", "<answer>", "<PAD>"]
WORDS = (
    "I want to land, what should I do next? Turn left at the red door; the blue box is behind you. "
    "Pick up the cup, then walk to the table. 12 steps, 3.5 m. "
    "Für Élise, 你好, こんにちは, добрый день. "
)
CORPUS = [
    "<image>User: what should I do next? GPT:<answer> turn left<|endofchunk|>",
    "<image> User: what?  GPT: <answer>  two  spaces<|endofchunk|> <image>And now? GPT:<answer>",
    "<answer>no space<|endofchunk|>",
    "<answer> \n a new line\n\n  and an indented one<|endofchunk|>\n",
    " leading and trailing ",
    "",
    " ",
    "<image><image>  <answer>",
    "🦦 otters, naïve café — 你好 <answer> добрый день",
    "def f(x):\n    return  x ** 2\t# tabs",
    "<|endofchunk |> <ima ge> </s> is no special token of ours",
]


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model made with LLaMA's settings."""
    folder = tmp_path_factory.mktemp("llama")
    (folder / "corpus.txt").write_text("\n".join(WORDS.split(". ")) * 20)
    sentencepiece.SentencePieceTrainer.train(
        input=str(folder / "corpus.txt"),
        model_prefix=str(folder / "tokenizer"),
        model_type="bpe",
        vocab_size=420,
        byte_fallback=True,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        split_digits=True,
        minloglevel=2,
    )
    return folder / "tokenizer.model"


def originals(model: Path, text: str) -> list[int]:
    """SentencePiece's own ids of the text between special tokens, special tokens at the end."""
    encoder = sentencepiece.SentencePieceProcessor(model_file=str(model))
    first, known = encoder.vocab_size(), {"<unk>": 0, "<s>": 1, "</s>": 2}
    ids: list[int] = []
    for part in re.split(f"({'|'.join(map(re.escape, [*SPECIALS, *known]))})", text):
        if part in SPECIALS:
            ids.append(first + SPECIALS.index(part))
        elif part in known:
            ids.append(known[part])
        else:
            ids += encoder.encode(part)
    return ids


def with_specials(tokenizer: Tokenizer) -> Tokenizer:
    tokenizer.add_special_tokens([AddedToken(s, special=True, normalized=False) for s in SPECIALS])
    return tokenizer


def ids(tokenizer: Tokenizer, text: str) -> list[int]:
    return list(tokenizer.encode(text, add_special_tokens=False).ids)


@pytest.mark.parametrize("text", CORPUS)
def test_sentencepiece_ids(llama: Path, text: str) -> None:
    assert ids(with_specials(from_sentencepiece(llama)), text) == originals(llama, text)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.sampled_from([*SPECIALS, " ", "  ", "\n", "door", "Turn left", "é", "你", "🦦", "x"])
    )
)
def test_sentencepiece_ids_of_any_mixture(llama: Path, parts: list[str]) -> None:
    text = "".join(parts)
    assert ids(with_specials(from_sentencepiece(llama)), text) == originals(llama, text)


def test_sentencepiece_text_comes_back(llama: Path) -> None:
    made = from_sentencepiece(llama)
    for text in ("turn left", "  two  spaces", "🦦 naïve"):
        assert made.decode(ids(made, text)) == text


def test_other_settings_of_sentencepiece(tmp_path: Path) -> None:
    (tmp_path / "corpus.txt").write_text("\n".join(WORDS.split(". ")) * 20)
    for name, kind, options in (
        ("nfkc", "bpe", {"user_defined_symbols": ["<box>"]}),
        ("plain", "unigram", {"normalization_rule_name": "identity"}),
    ):
        sentencepiece.SentencePieceTrainer.train(
            input=str(tmp_path / "corpus.txt"),
            model_prefix=str(tmp_path / name),
            model_type=kind,
            vocab_size=150,
            hard_vocab_limit=False,
            minloglevel=2,
            **options,
        )
    made = from_sentencepiece(tmp_path / "nfkc.model")
    encoder = sentencepiece.SentencePieceProcessor(model_file=str(tmp_path / "nfkc.model"))
    for text in ("  the  red   door ", "ﬁne ½ box", "turn left"):
        assert ids(made, text) == encoder.encode(text)
    with pytest.raises(UserError, match="is a unigram model, a BPE one is expected"):
        from_sentencepiece(tmp_path / "plain.model")


@pytest.fixture(scope="module")
def neox(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Tokenizer]:
    """A small byte-level BPE as GPT-NeoX's, with its runs of spaces, and its three files."""
    folder = tmp_path_factory.mktemp("neox")
    made = Tokenizer(models.BPE())
    made.normalizer = normalizers.NFC()
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=alphabet,
        show_progress=False,
    )
    made.train_from_iterator([WORDS] * 20, trainer)
    made.add_tokens([AddedToken(" " * n, normalized=True) for n in range(24, 1, -1)])
    made.model.save(str(folder))
    added = {" " * n: made.token_to_id(" " * n) for n in range(2, 25)}
    (folder / "added_tokens.json").write_text(json.dumps({"<|endoftext|>": 0, **added}))
    return folder, with_specials(made)


@pytest.mark.parametrize("text", [*CORPUS, "a<|endoftext|> b", "e\u0301 composed", " " * 30 + "x"])
def test_vocabulary_ids(neox: tuple[Path, Tokenizer], text: str) -> None:
    folder, original = neox
    assert ids(with_specials(from_vocabulary(folder)), text) == ids(original, text)


def test_a_folder_without_tokenizer_json_is_converted(llama: Path, tmp_path: Path) -> None:
    size = sentencepiece.SentencePieceProcessor(model_file=str(llama)).vocab_size()
    tokens = Tokens(endofchunk=size, image=size + 1, answer=size + 2, pad=size + 3)
    path = completed(llama.parent, tokens, tmp_path)
    made = Tokenizer.from_file(str(path))
    assert path == tmp_path / "tokenizer.json"
    assert ids(made, CORPUS[0]) == originals(llama, CORPUS[0])


def test_what_cannot_be_converted_is_told(neox: tuple[Path, Tokenizer], tmp_path: Path) -> None:
    (tmp_path / "tokenizer.model").write_bytes(b"\x0a\x0e")
    with pytest.raises(UserError, match="should be a SentencePiece model, but is not readable"):
        from_sentencepiece(tmp_path / "tokenizer.model")
    with pytest.raises(UserError, match=r"should have a vocab\.json and a merges\.txt"):
        from_vocabulary(tmp_path)
    for name in ("vocab.json", "merges.txt"):
        (tmp_path / name).write_bytes((neox[0] / name).read_bytes())
    (tmp_path / "added_tokens.json").write_text('{"  ": 7000}')
    with pytest.raises(UserError, match="is token 7000, but by"):
        from_vocabulary(tmp_path)
    (tmp_path / "added_tokens.json").write_text("[1]")
    with pytest.raises(UserError, match="should map texts to token ids"):
        from_vocabulary(tmp_path)
