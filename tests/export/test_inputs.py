"""`otter-edge export` of what people have: its inputs, its tokenizer, what the manifest says."""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import AddedToken, Tokenizer, models
from torch import Tensor

from otter_export.commands import export
from otter_export.tokenizer_file import completed
from otter_model.checkpoint import WEIGHTS, save
from otter_model.config import OtterConfig, Tokens
from otter_model.tiny import tiny_checkpoint
from otter_runtime.bundle import Bundle
from otter_runtime.errors import UserError

TOKENS = Tokens(image=61, answer=62, endofchunk=60, pad=63)
SPECIALS = ("<|endofchunk|>", "<image>", "<answer>", "<PAD>")


def run(*words: object) -> Bundle:
    parser = argparse.ArgumentParser()
    export.add_arguments(parser)
    args = parser.parse_args([*(str(word) for word in words), "--precision", "fp32", "--json"])
    assert export.run(args) == 0
    return Bundle.load(args.out)


def tokenizer(path: Path, words: int = 60, specials: tuple[str, ...] = ()) -> Path:
    """`words` words, then `specials`."""
    vocab = {f"word{at}": at for at in range(words)}
    made = Tokenizer(models.WordLevel(vocab, unk_token="word0"))
    made.add_special_tokens([AddedToken(text, special=True) for text in specials])
    made.save(str(path))
    return path


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    save(tiny_checkpoint("mpt1b").build(), tmp_path / "whole")
    return tmp_path / "whole"


def test_a_trained_part_over_its_base(whole: Path, tmp_path: Path) -> None:
    torch.save({"module.perceiver.norm.bias": torch.ones(24)}, tmp_path / "odd.pt")
    out = tmp_path / "bundle"
    with pytest.raises(UserError, match=r"odd\.pt lacks 'perceiver\.latents'"):
        run(tmp_path / "odd.pt", "--base", whole, "-o", out)
    with pytest.raises(UserError, match="so it can only be the trained part"):
        run(tmp_path / "odd.pt", "-o", out)
    state = tiny_checkpoint("mpt1b", seed=1).build().state_dict()
    part = {name: x for name, x in state.items() if name.startswith("perceiver.")}
    torch.save({"model_state_dict": part}, tmp_path / "final_weights.pt")
    source = run(tmp_path / "final_weights.pt", "--base", whole, "-o", out).manifest.source
    assert (source["file"], source["base"]) == ("final_weights.pt", "whole")
    assert len(source["sha256"]) == 64


def flamingo(config: OtterConfig, state: dict[str, Tensor], folder: Path) -> list[Any]:
    """The three inputs of a tiny OpenFlamingo."""
    lang, eyes, own = "lang_encoder.", "vision_encoder.", dict[str, Tensor]()
    text, clip = dict[str, Tensor](), dict[str, Tensor]()
    for name, tensor in state.items():
        if name.startswith(eyes):
            clip[name.removeprefix(eyes)] = tensor
        elif name.startswith(lang) and "gated" not in name:
            text[name.removeprefix(lang).replace("decoder_layer.", "")] = tensor
        else:
            parts = name.replace(".feed_forward.", ".1." if "perceiver" in name else ".ff.")
            for part in ("norm_media", "norm_latents", "to_"):
                if name.startswith("perceiver.layers."):
                    parts = parts.replace(f".{part}", f".0.{part}")
            own[parts] = tensor
    own["lang_encoder.transformer.wte.weight"] = state["lang_encoder.transformer.wte.weight"]
    torch.save(own, folder / "checkpoint.pt")
    whole = config.to_dict()
    language = {**whole["text_config"], "otter_edge": whole["otter_edge"]}
    told = {"clip": (clip, whole["vision_config"]), "language": (text, language)}
    for role, (tensors, described) in told.items():
        (folder / role).mkdir()
        torch.save(tensors, folder / role / "pytorch_model.bin")
        (folder / role / "config.json").write_text(json.dumps(described))
    paths = (folder / "clip", "--language", folder / "language")
    return [folder / "checkpoint.pt", "--clip", *paths]


def test_an_openflamingo_is_asked_as_openflamingo_asks(tmp_path: Path) -> None:
    tiny = tiny_checkpoint("mpt1b")
    config = replace(tiny.config, tokens=Tokens(image=61, answer=None, endofchunk=60, pad=62))
    paths = flamingo(config, tiny.build().state_dict(), tmp_path)
    tokenizer(tmp_path / "language" / "tokenizer.json")
    bundle = run(*paths, "-o", tmp_path / "bundle")
    assert bundle.manifest.prompt.template == "<image>Question:{question} Short answer:"
    assert bundle.manifest.tokens.answer is None
    assert set(bundle.manifest.source) == {"file", "clip", "language", "sha256"}
    made = bundle.tokenizer()
    assert [made.token_to_id(text) for text in SPECIALS] == [60, 61, None, 62]
    with pytest.raises(UserError, match="takes both its CLIP and its language model"):
        run(*paths[:3], "-o", tmp_path / "bundle2")


def test_random_weights_build_on_nothing(whole: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--random takes no --base"):
        run("--random", "otter-mpt1b", "--base", whole, "-o", tmp_path / "bundle")


def test_a_tokenizer_given_goes_into_the_bundle(whole: Path, tmp_path: Path) -> None:
    given = tokenizer(tmp_path / "given.json", 60, SPECIALS)
    bundle = run(whole, "--tokenizer", given, "-o", tmp_path / "bundle")
    assert (bundle.path / "tokenizer.json").read_bytes() == given.read_bytes()


def test_a_complete_tokenizer_is_left_as_it_is(tmp_path: Path) -> None:
    path = tokenizer(tmp_path / "tokenizer.json", 60, SPECIALS)
    assert completed(path, TOKENS, tmp_path / "new") == path
    assert completed(tmp_path, TOKENS, tmp_path / "new") == path


def test_special_tokens_are_added_in_the_order_of_their_ids(tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    path = completed(tokenizer(tmp_path / "tokenizer.json"), TOKENS, tmp_path / "new")
    made = Tokenizer.from_file(str(path))
    assert [made.token_to_id(text) for text in SPECIALS] == [60, 61, 62, 63]
    assert made.encode("<image>word5<answer>").ids == [61, 5, 62]


def test_a_tokenizer_of_another_checkpoint_is_refused(tmp_path: Path) -> None:
    path = tokenizer(tmp_path / "tokenizer.json", words=59)
    with pytest.raises(UserError, match=r"<\|endofchunk\|> should be token 60 .*, but is 59"):
        completed(path, TOKENS, tmp_path)


def test_what_is_no_tokenizer_is_told(whole: Path, tmp_path: Path) -> None:
    (tmp_path / "tokenizer.model").write_bytes(b"\x0a\x0e")
    with pytest.raises(UserError, match="SentencePiece model"):
        run(whole, "--tokenizer", tmp_path / "tokenizer.model", "-o", tmp_path / "b")


def test_a_pickle_for_weights_is_one_sentence(whole: Path, tmp_path: Path) -> None:
    (whole / WEIGHTS).unlink()
    torch.save({"w": print}, whole / "pytorch_model.bin")
    with pytest.raises(UserError, match="wants to load the Python object"):
        run(whole, "-o", tmp_path / "bundle")
