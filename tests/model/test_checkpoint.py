"""Checkpoints on disk: what is read, lazily and from shards, what is written, what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from otter_model.checkpoint import INDEX, WEIGHTS, load, open_checkpoint, save
from otter_model.config import Family, OtterConfig, Tokens
from otter_model.errors import CheckpointError, ConfigError
from otter_model.otter import Otter
from otter_model.published import PUBLISHED
from otter_model.tiny import FAMILIES, tiny_config

GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A tiny saved checkpoint."""
    save(Otter(tiny_config("mpt1b")), tmp_path)
    return tmp_path


def shard(folder: Path) -> None:
    """Splits model.safetensors into two files with an index, as the Hugging Face hub does."""
    tensors = load_file(folder / WEIGHTS)
    (folder / WEIGHTS).unlink()
    names = sorted(tensors)
    halves = {"a.safetensors": names[::2], "b.safetensors": names[1::2]}
    for file, part in halves.items():
        save_file({name: tensors[name] for name in part}, folder / file)
    weight_map = {name: file for file, part in halves.items() for name in part}
    (folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))


def edit(folder: Path, **fields: Any) -> None:
    path = folder / "config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps({**config, **fields}))


@pytest.mark.parametrize("family", FAMILIES)
def test_what_is_saved_is_loaded(family: Family, tmp_path: Path) -> None:
    otter = Otter(tiny_config(family, max_frames=3))
    save(otter, tmp_path)
    again = load(tmp_path)
    assert again.config == otter.config
    assert not again.training
    for name, tensor in otter.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor)


def test_shards_are_the_same_as_one_file(folder: Path) -> None:
    whole = load(folder).state_dict()
    shard(folder)
    parts = load(folder).state_dict()
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


def test_tensors_are_read_only_when_asked_for(folder: Path) -> None:
    shard(folder)
    checkpoint = open_checkpoint(folder)
    (folder / "b.safetensors").unlink()
    names = sorted(checkpoint.tensors)
    assert checkpoint.tensors[names[0]].numel() > 0
    with pytest.raises(CheckpointError, match=r"b\.safetensors"):
        checkpoint.tensors[names[1]]


def test_half_precision_is_widened() -> None:
    case = GOLDEN / "mpt-video-8-frames"
    checkpoint = open_checkpoint(case, json.loads((case / "meta.json").read_text()))
    name = "perceiver.latents"
    assert checkpoint.tensors[name].dtype == torch.float16
    assert torch.equal(
        checkpoint.build().state_dict()[name], checkpoint.tensors[name].to(torch.float32)
    )


def test_old_buffers_and_duplicates_are_ignored(folder: Path) -> None:
    tensors = load_file(folder / WEIGHTS)
    tensors["vision_encoder.vision_model.embeddings.position_ids"] = torch.arange(5)
    tensors["lang_encoder.old_decoder_blocks.0.ln_1.weight"] = torch.zeros(48)
    save_file(tensors, folder / WEIGHTS)
    load(folder)


def test_embedding_rows_follow_the_weights(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    edit(folder, text_config={**config["text_config"], "vocab_size": 60})
    assert load(folder).config.decoder.vocab == 64


@pytest.mark.parametrize("family", FAMILIES)
def test_configs_are_written_and_read_back(family: Family) -> None:
    config = tiny_config(family, max_frames=7)
    assert OtterConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_configs_are_written_and_read_back(name: str) -> None:
    assert OtterConfig.from_dict(PUBLISHED[name].to_dict()) == PUBLISHED[name]


def test_what_a_published_config_leaves_out_is_the_published_constant() -> None:
    text = {"architectures": ["MPTForCausalLM"], "d_model": 4096, "n_layers": 32, "n_heads": 32}
    config = {"cross_attn_every_n_layers": 4, "text_config": text, "vision_config": {}}
    assert OtterConfig.from_dict(config) == PUBLISHED["otter-mpt7b"]
    text = {"_name_or_path": "luodian/llama-7b-hf", "model_type": "llama"}
    config = {"cross_attn_every_n_layers": 4, "text_config": text, "max_num_frames": 128}
    assert OtterConfig.from_dict(config) == PUBLISHED["otter-llama7b-video"]


def test_the_otter_edge_block_overrides() -> None:
    text = {"architectures": ["MosaicGPT"]}
    edge = {
        "perceiver": {"depth": 2, "num_latents": 16},
        "tokens": {"eoc": 5, "image": 6, "answer": None, "pad": 7, "bos": 1},
    }
    config = OtterConfig.from_dict({"text_config": text, "otter_edge": edge})
    assert (config.perceiver.depth, config.perceiver.latents) == (2, 16)
    assert config.tokens == Tokens(image=6, answer=None, endofchunk=5, pad=7, bos=1)


def test_a_tokens_block_that_lacks_an_id_is_refused() -> None:
    edge = {"tokens": {"image": 6, "eoc": 5}}
    with pytest.raises(ConfigError, match="lacks pad"):
        OtterConfig.from_dict({"text_config": {"model_type": "llama"}, "otter_edge": edge})


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ({"architectures": ["FalconForCausalLM"]}, "MPTForCausalLM, MosaicGPT or a LLaMA"),
        ({"architectures": ["MPTForCausalLM"], "attn_config": {"alibi": False}}, "attn_config.ali"),
        ({"model_type": "llama", "rope_scaling": {"type": "linear"}}, "rope_scaling must be None"),
        ({"model_type": "llama", "num_key_value_heads": 8}, "num_key_value_heads must be 32"),
    ],
)
def test_what_would_compute_something_else_is_refused(text: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        OtterConfig.from_dict({"text_config": text})


def test_a_missing_tensor_is_named(folder: Path) -> None:
    tensors = load_file(folder / WEIGHTS)
    del tensors["perceiver.latents"]
    save_file(tensors, folder / WEIGHTS)
    with pytest.raises(CheckpointError, match=r"lacks tensor 'perceiver\.latents'"):
        load(folder)


def test_an_unknown_tensor_is_named(folder: Path) -> None:
    tensors = load_file(folder / WEIGHTS)
    save_file({**tensors, "surprise": torch.zeros(1)}, folder / WEIGHTS)
    with pytest.raises(CheckpointError, match="unknown tensor 'surprise'"):
        load(folder)


def test_a_misshapen_tensor_is_named(folder: Path) -> None:
    tensors = load_file(folder / WEIGHTS)
    save_file({**tensors, "perceiver.latents": torch.zeros(5, 23)}, folder / WEIGHTS)
    with pytest.raises(CheckpointError, match=r"perceiver\.latents should have shape \(5, 24\)"):
        load(folder)


def test_a_truncated_file_is_named(folder: Path) -> None:
    data = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(data[: len(data) // 2])
    with pytest.raises(CheckpointError, match="not a readable safetensors file"):
        load(folder)


def test_a_shard_outside_the_folder_is_refused(folder: Path, tmp_path: Path) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    shutil.copy(folder / "config.json", inner)
    weight_map = {"perceiver.latents": f"../{WEIGHTS}"}
    (inner / INDEX).write_text(json.dumps({"weight_map": weight_map}))
    with pytest.raises(CheckpointError, match="does not hold"):
        open_checkpoint(inner)


def test_a_folder_without_weights_says_what_it_wants(folder: Path) -> None:
    (folder / WEIGHTS).unlink()
    with pytest.raises(CheckpointError, match="convert"):
        open_checkpoint(folder)
