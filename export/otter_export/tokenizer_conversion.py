"""Vocabulary files of other libraries, as a tokenizer of the `tokenizers` library.

SentencePiece's `tokenizer.model` (LLaMA) and `vocab.json` with `merges.txt` (GPT-NeoX, so MPT). It
knows nothing of Otter's own special tokens: those are added afterwards, behind what is there.

Text between special tokens is encoded by itself, and SentencePiece puts a space before each such
piece of text, the first as well as those behind a special token. That is what the tokenizers did
that the published LLaMA Otters were tuned with (transformers' `legacy` behaviour); later ones leave
the space out behind a special token, and give other ids.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

from otter_runtime.errors import MissingExtra, UserError

VOCABULARY, MERGES, ADDED = "vocab.json", "merges.txt", "added_tokens.json"
SPACE = "▁"
# The kinds of a piece in SentencePiece's model file.
UNKNOWN, CONTROL, USER_DEFINED = 2, 3, 4
BPE = 2  # TrainerSpec.ModelType


def from_sentencepiece(path: Path) -> Tokenizer:
    """The byte-pair model in `path`, with equal ids; raises UserError for other kinds.

    A merge's rank is the score of the piece it makes (as in SentencePiece's own encoder); pieces
    of equal score merge in the order of their ids.
    """
    model = _model(path)
    pieces = [(piece.piece, piece.score, piece.type) for piece in model.pieces]
    vocab = {text: at for at, (text, _, _) in enumerate(pieces)}
    made = Tokenizer(
        models.BPE(
            vocab,
            _merges(vocab, [(text, score) for text, score, _ in pieces]),
            unk_token=next(text for text, _, kind in pieces if kind == UNKNOWN),
            fuse_unk=True,
            byte_fallback=model.trainer_spec.byte_fallback,
        )
    )
    made.normalizer = normalizers.Sequence(list(_normalizers(model.normalizer_spec)))
    made.decoder = decoders.Sequence(
        [
            decoders.Replace(SPACE, " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(content=" ", left=1),
        ]
    )
    made.add_special_tokens(_added(text for text, _, kind in pieces if kind in (UNKNOWN, CONTROL)))
    made.add_tokens(_added((t for t, _, kind in pieces if kind == USER_DEFINED), special=False))
    return made


def from_vocabulary(folder: Path) -> Tokenizer:
    """The byte-level byte-pair model in `vocab.json`, `merges.txt` and perhaps `added_tokens.json`.

    GPT-NeoX's added tokens are runs of spaces: found in the text as written, longest first.
    """
    try:
        model = models.BPE.from_file(str(folder / VOCABULARY), str(folder / MERGES))
    except Exception as error:  # the library raises Exception itself, for every kind of fault
        raise UserError(
            f"{folder} should have a {VOCABULARY} and a {MERGES} of a byte-level BPE, but they are "
            f"not readable ({error}); give the files of the checkpoint's language model"
        ) from None
    made = Tokenizer(model)
    made.normalizer = normalizers.NFC()
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    for text, at in _added_tokens(folder / ADDED):
        special = text.startswith("<|")
        token = AddedToken(text, special=special, normalized=not special)
        (made.add_special_tokens if special else made.add_tokens)([token])
        if (got := made.token_to_id(text)) != at:
            raise UserError(
                f"{folder / ADDED} says that {text!r} is token {at}, but by the vocabulary it is "
                f"{got}; give the {VOCABULARY} that it belongs to"
            )
    return made


def _model(path: Path) -> Any:
    try:
        messages: Any = importlib.import_module("sentencepiece.sentencepiece_model_pb2")
    except ModuleNotFoundError as error:
        raise MissingExtra("sentencepiece", "export") from error
    model = messages.ModelProto()
    try:
        model.ParseFromString(path.read_bytes())
    except Exception as error:  # protobuf's DecodeError has no home that all versions share
        raise UserError(
            f"{path} should be a SentencePiece model, but is not readable ({error}); "
            "copy it again, or give a tokenizer.json"
        ) from None
    if model.trainer_spec.model_type != BPE or not model.pieces:
        kinds = {1: "unigram", 3: "word", 4: "char"}
        kind = kinds.get(model.trainer_spec.model_type, "empty")
        raise UserError(f"{path} is a {kind} model, a BPE one is expected; give a tokenizer.json")
    return model


def _merges(vocab: dict[str, int], scored: Sequence[tuple[str, float]]) -> list[tuple[str, str]]:
    """Every way to make a piece out of two, best first."""
    ranked = []
    for text, score in scored:
        for at in range(1, len(text)):
            left, right = text[:at], text[at:]
            if left in vocab and right in vocab:
                ranked.append((-score, vocab[text], vocab[left], vocab[right], (left, right)))
    return [pair for *_, pair in sorted(ranked)]


def _normalizers(spec: Any) -> Iterable[normalizers.Normalizer]:
    if spec.precompiled_charsmap:
        yield normalizers.Precompiled(spec.precompiled_charsmap)
    if spec.remove_extra_whitespaces:
        yield normalizers.Strip()
        yield normalizers.Replace(Regex(" {2,}"), " ")
    if spec.add_dummy_prefix:
        yield normalizers.Prepend(SPACE)
    yield normalizers.Replace(" ", SPACE)


def _added(texts: Iterable[str], special: bool = True) -> list[AddedToken]:
    return [AddedToken(text, special=special, normalized=False) for text in texts]


def _added_tokens(path: Path) -> list[tuple[str, int]]:
    """Text and id, in the order of the ids; nothing where there is no such file."""
    if not path.is_file():
        return []
    try:
        added = json.loads(path.read_text(encoding="utf-8"))
        return sorted(((str(text), int(at)) for text, at in added.items()), key=lambda one: one[1])
    except (ValueError, AttributeError, TypeError) as error:
        raise UserError(
            f"{path} should map texts to token ids, but does not ({error}); correct or remove it"
        ) from None
