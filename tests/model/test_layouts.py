"""Every layout of a checkpoint, written small from the golden cases, gives the golden logits."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from otter_model.checkpoint import open_checkpoint
from otter_model.config import FLAMINGO_LLAMA_TOKENS, FLAMINGO_NEOX_TOKENS, Tokens
from otter_model.errors import CheckpointError, ConfigError

State = dict[str, Tensor]
CASES = ("mpt-left-padded-batch2", "mpt1b-single-image", "llama-single-image")
CLOSE = 2e-5
GATED = ".gated_cross_attn_layer."
TABLES = ("wte.weight", "embed_tokens.weight", "lm_head.weight")


def shards(state: State, folder: Path) -> Path:
    """pytorch_model-0000x-of-00003.bin with their index, as transformers 4.35 writes them."""
    folder.mkdir(parents=True, exist_ok=True)
    names, weight_map = list(state), dict[str, str]()
    for at in range(3):
        file = f"pytorch_model-{at + 1:05d}-of-00003.bin"
        torch.save({name: state[name] for name in names[at::3]}, folder / file)
        weight_map |= dict.fromkeys(names[at::3], file)
    index = {"metadata": {"total_size": 0}, "weight_map": weight_map}
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    return folder


def trained(state: State) -> State:
    """What Otter's training leaves requires_grad: resampler, gated layers, embeddings."""
    return {
        name: tensor
        for name, tensor in state.items()
        if name.startswith("perceiver.") or GATED in name or name.endswith(TABLES)
    }


def untrained(state: State) -> State:
    """The same base before training: what was trained is something else there."""
    noise = torch.Generator().manual_seed(0)
    start = {
        name: torch.randn(tensor.shape, generator=noise) for name, tensor in trained(state).items()
    }
    return state | start


def flamingo(state: State) -> State:
    """checkpoint.pt as open_flamingo names things, with the second copies that old ones have."""
    renamed = {}
    for name, tensor in trained(state).items():
        name = re.sub(r"^(perceiver\.layers\.\d+)\.feed_forward\.", r"\1.1.", name)
        name = re.sub(r"^(perceiver\.layers\.\d+)\.(norm_|to_)", r"\1.0.\2", name)
        renamed[name.replace(GATED + "feed_forward.", GATED + "ff.")] = tensor
    for name, tensor in list(renamed.items()):
        if found := re.match(r"lang_encoder\..*\.(\d+)\.gated_cross_attn_layer\.(.*)", name):
            copy = f"lang_encoder.gated_cross_attn_layers.{found[1]}.{found[2]}"
            renamed[copy] = tensor
    return renamed


def language(state: State, config: dict[str, Any], folder: Path, rows: int) -> Path:
    """The language model that OpenFlamingo began from: its own names, other embedding rows."""
    own = {}
    for name, tensor in state.items():
        if not name.startswith("lang_encoder.") or GATED in name:
            continue
        name = name.removeprefix("lang_encoder.").replace(".decoder_layer.", ".")
        own[name] = torch.randn(rows, tensor.shape[1]) if name.endswith(TABLES) else tensor
    if "lm_head.weight" in own:
        own["model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.ones(8)
    shards(own, folder)
    (folder / "config.json").write_text(json.dumps(config["text_config"]))
    return folder


def clip_hugging_face(state: State, config: dict[str, Any], folder: Path) -> Path:
    """The folder of CLIPModel: both halves."""
    folder.mkdir()
    prefix = "vision_encoder."
    eyes = {name.removeprefix(prefix): x for name, x in state.items() if name.startswith(prefix)}
    text = {
        "logit_scale": torch.ones(()),
        "text_model.embeddings.position_ids": torch.arange(7)[None],
        "text_model.embeddings.token_embedding.weight": torch.ones(9, 4),
        "text_projection.weight": torch.ones(4, 4),
        "vision_model.embeddings.position_ids": torch.arange(17)[None],
        "visual_projection.weight": torch.ones(4, 64),
    }
    torch.save(eyes | text, folder / "pytorch_model.bin")
    whole = {"model_type": "clip", "text_config": {}, "vision_config": config["vision_config"]}
    (folder / "config.json").write_text(json.dumps(whole))
    return folder


OPEN_CLIP = (
    ("embeddings.class_embedding", "class_embedding"),
    ("embeddings.patch_embedding", "conv1"),
    ("embeddings.position_embedding.weight", "positional_embedding"),
    ("pre_layrnorm", "ln_pre"),
    ("post_layernorm", "ln_post"),
    ("encoder.layers", "transformer.resblocks"),
    ("layer_norm", "ln_"),
    ("mlp.fc1", "mlp.c_fc"),
    ("mlp.fc2", "mlp.c_proj"),
    ("self_attn", "attn"),
)


def clip_open_clip(state: State, _: dict[str, Any], folder: Path) -> Path:
    """open_clip's folder, query, key and value fused."""
    folder.mkdir()
    eyes: State = {}
    for name, tensor in state.items():
        if not name.startswith("vision_encoder.vision_model."):
            continue
        name = name.removeprefix("vision_encoder.vision_model.")
        for theirs, open_clip in OPEN_CLIP:
            name = name.replace(theirs, open_clip)
        eyes[f"visual.{name}"] = tensor
    for name in [name for name in eyes if ".q_proj." in name]:
        parts = [eyes.pop(name.replace(".q_proj.", f".{part}_proj.")) for part in "qkv"]
        eyes[name.replace("q_proj.", "in_proj_")] = torch.cat(parts)
    text = {
        "logit_scale": torch.ones(()),
        "positional_embedding": torch.ones(7, 4),
        "text_projection": torch.ones(4, 4),
        "token_embedding.weight": torch.ones(9, 4),
        "transformer.resblocks.0.attn.in_proj_bias": torch.ones(12),
        "ln_final.weight": torch.ones(4),
        "visual.proj": torch.ones(64, 4),
    }
    torch.save(eyes | text, folder / "open_clip_pytorch_model.bin")
    vision = {"image_size": 56, "layers": 2, "width": 64, "head_width": 16, "patch_size": 14}
    model = {"embed_dim": 4, "quick_gelu": True, "vision_cfg": vision, "text_cfg": {}}
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": model}))
    return folder


@pytest.fixture
def llama(golden: Callable[[str], Any]) -> Any:
    return golden("llama-single-image")


@pytest.mark.parametrize("name", CASES)
def test_a_folder_of_bin_shards(name: str, golden: Callable[[str], Any], tmp_path: Path) -> None:
    case = golden(name)
    folder = case.write_config(shards(case.state, tmp_path))
    checkpoint = open_checkpoint(folder)
    assert case.difference(checkpoint) < CLOSE
    assert checkpoint.tensors["perceiver.latents"].dtype == torch.float16


def test_a_folder_of_one_bin(llama: Any, tmp_path: Path) -> None:
    inv_freq = {"lang_encoder.model.layers.0.decoder_layer.self_attn.rotary_emb.inv_freq": None}
    state = llama.state | dict.fromkeys(inv_freq, torch.ones(8))
    torch.save(state, tmp_path / "pytorch_model.bin")
    assert llama.difference(open_checkpoint(llama.write_config(tmp_path))) < CLOSE


def test_weights_are_not_read_on_opening(llama: Any, tmp_path: Path) -> None:
    checkpoint = open_checkpoint(llama.write_config(shards(llama.state, tmp_path)))
    (tmp_path / "pytorch_model-00002-of-00003.bin").unlink()
    gone = sorted(llama.state)[1]
    with pytest.raises(CheckpointError, match="00002-of-00003"):
        dict(checkpoint.tensors)
    assert gone in checkpoint.tensors


def test_a_shard_and_its_index_must_agree(llama: Any, tmp_path: Path) -> None:
    llama.write_config(shards(llama.state, tmp_path))
    first = tmp_path / "pytorch_model-00001-of-00003.bin"
    torch.save({**torch.load(first, weights_only=True), "stray": torch.ones(1)}, first)
    with pytest.raises(CheckpointError, match=r"00001-of-00003\.bin has besides 'stray'"):
        open_checkpoint(tmp_path)
    torch.save({}, first)
    with pytest.raises(CheckpointError, match=r"00001-of-00003\.bin should hold tensors"):
        open_checkpoint(tmp_path)


def test_integers_are_refused(llama: Any, tmp_path: Path) -> None:
    weight = "lang_encoder.model.layers.0.decoder_layer.mlp.up_proj.weight"
    torch.save(llama.state | {weight: llama.state[weight].char()}, tmp_path / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match=rf"{weight} should be floating-point"):
        open_checkpoint(llama.write_config(tmp_path))


@pytest.mark.parametrize(
    ("name", "around"),
    [(name, "") for name in CASES]
    + [(CASES[1], a) for a in ("module.", "model_state_dict", "both")],
)
def test_a_trained_part_over_its_base(
    name: str, around: str, golden: Callable[[str], Any], tmp_path: Path
) -> None:
    case = golden(name)
    base = case.write_config(shards(untrained(case.state), tmp_path / "base"))
    part: Any = trained(case.state)
    if around in ("module.", "both"):
        part = {f"module.{key}": tensor for key, tensor in part.items()}
    if around in ("model_state_dict", "both"):
        part = {"epoch": 3, "model_state_dict": part, "lr_scheduler_state_dict": {"_step_count": 2}}
    torch.save(part, tmp_path / "final_weights.pt")
    if around == "both":
        assert case.difference(open_checkpoint(base)) > 0.1
    checkpoint = open_checkpoint(tmp_path / "final_weights.pt", base=base)
    assert case.difference(checkpoint) < CLOSE


def test_a_trained_part_may_have_more_tokens_than_its_base(llama: Any, tmp_path: Path) -> None:
    base = dict(untrained(llama.state))
    for name in base:
        if name.endswith(TABLES):
            base[name] = base[name][:128]
    torch.save(base, tmp_path / "pytorch_model.bin")
    torch.save(trained(llama.state), tmp_path / "final_weights.pt")
    folder = llama.write_config(tmp_path)
    assert llama.difference(open_checkpoint(folder / "final_weights.pt", base=folder)) < CLOSE


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"surprise": torch.ones(1)}, "has 'surprise', which the base lacks"),
        ({"perceiver.latents": torch.ones(5, 5)}, r"perceiver.latents should have .*\(5, 5\)"),
        ({"perceiver.latents": None}, "lacks 'perceiver.latents', although it has others"),
        ({"lang_encoder.model.layers.3" + GATED + "ff_gate": None}, "layer.ff_gate', although"),
    ],
)
def test_a_part_that_does_not_fit_is_refused(
    change: dict[str, Tensor | None], sentence: str, llama: Any, tmp_path: Path
) -> None:
    base = llama.write_config(shards(llama.state, tmp_path / "base"))
    part = {name: x for name, x in (trained(llama.state) | change).items() if x is not None}
    torch.save(part, tmp_path / "checkpoint_3.pt")
    with pytest.raises(CheckpointError, match=sentence):
        open_checkpoint(tmp_path / "checkpoint_3.pt", base=base)


def test_a_part_alone_asks_for_its_base(llama: Any, tmp_path: Path) -> None:
    torch.save(trained(llama.state), tmp_path / "final_weights.pt")
    with pytest.raises(CheckpointError, match="give the folder that it was trained from as base"):
        open_checkpoint(tmp_path / "final_weights.pt")


@pytest.fixture
def three(tmp_path: Path) -> Callable[..., dict[str, Path]]:
    """Writes the three inputs of an OpenFlamingo."""

    def write(
        case: Any, clip: Callable[..., Path] = clip_open_clip, rows: int = 132
    ) -> dict[str, Path]:
        torch.save(flamingo(case.state), tmp_path / "checkpoint.pt")
        return {
            "path": tmp_path / "checkpoint.pt",
            "clip": clip(case.state, case.config, tmp_path / "clip"),
            "language": language(case.state, case.config, tmp_path / "language", rows),
        }

    return write


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize(("clip", "rows"), [(clip_hugging_face, 128), (clip_open_clip, 200)])
def test_an_openflamingo_over_clip_and_language_model(
    name: str, clip: Any, rows: int, golden: Callable[[str], Any], three: Any
) -> None:
    case = golden(name)
    # No <answer>: what Otter calls so is the pad.
    tokens = case.edge["tokens"]
    tokens = {**tokens, "answer": None, "pad": tokens["answer"]}
    checkpoint = open_checkpoint(
        **three(case, clip, rows), overrides={**case.edge, "tokens": tokens}
    )
    assert case.difference(checkpoint) < CLOSE
    assert checkpoint.config.decoder.cross_attn_every == case.config["cross_attn_every_n_layers"]
    assert checkpoint.config.tokens == Tokens(
        image=tokens["image"],
        answer=None,
        endofchunk=tokens["eoc"],
        pad=tokens["pad"],
        bos=tokens["bos"],
    )
    assert not checkpoint.config.use_cache


@pytest.mark.parametrize("rows", [128, 140])
def test_an_openflamingo_over_llama_saves_no_head(rows: int, llama: Any, three: Any) -> None:
    """It adds tokens to both tables, but trains the input's alone."""
    paths, name = three(llama, rows=rows), "lang_encoder.lm_head.weight"
    saved = torch.load(paths["path"], weights_only=True)
    head = saved.pop(name)
    torch.save(saved, paths["path"])
    files = sorted(paths["language"].glob("*.bin"))
    (file,) = [f for f in files if "lm_head.weight" in torch.load(f, weights_only=True)]
    own = torch.cat([head, torch.randn(9, head.shape[1])])[:rows]
    torch.save(torch.load(file, weights_only=True) | {"lm_head.weight": own}, file)
    checkpoint = open_checkpoint(**paths, overrides=llama.edge)
    made = checkpoint.tensors[name]
    assert made.shape == head.shape
    known = min(rows, len(head))
    assert torch.equal(made[:known], head[:known].to(made.dtype))
    assert not made[known:].any()
    if known == len(head):
        assert llama.difference(checkpoint) < CLOSE


@pytest.mark.parametrize(
    ("name", "tokens"),
    [("mpt1b-single-image", FLAMINGO_NEOX_TOKENS), ("llama-single-image", FLAMINGO_LLAMA_TOKENS)],
)
def test_an_openflamingo_has_its_own_tokens(
    name: str, tokens: Tokens, golden: Callable[[str], Any], three: Any
) -> None:
    case = golden(name)
    sizes = {key: case.edge[key] for key in ("perceiver", "xattn")}
    assert open_checkpoint(**three(case), overrides=sizes).config.tokens == tokens


def test_clip_may_be_one_file(llama: Any, three: Any) -> None:
    """Without open_clip's config a head is 64 wide, as in all that OpenAI published."""
    paths = three(llama)
    paths["clip"] = paths["clip"] / "open_clip_pytorch_model.bin"
    config = open_checkpoint(**paths, overrides=llama.edge).config.vision
    assert (config.heads, config.dim, config.layers, config.mlp_dim) == (1, 64, 2, 256)
    assert (config.image_size, config.patch_size) == (56, 14)


@pytest.mark.parametrize("family", ["GPTNeoXForCausalLM", "FalconForCausalLM", "RWForCausalLM"])
def test_other_language_models_are_refused_by_name(family: str, llama: Any, three: Any) -> None:
    paths = three(llama)
    (paths["language"] / "config.json").write_text(json.dumps({"architectures": [family]}))
    called = "GPT-NeoX" if "NeoX" in family else "Falcon"
    with pytest.raises(ConfigError, match=f"is {called}.*which is not supported"):
        open_checkpoint(**paths)


def test_what_clip_has_not_is_named(llama: Any, three: Any) -> None:
    paths = three(llama, clip_hugging_face)
    weights = paths["clip"] / "pytorch_model.bin"
    torch.save({**torch.load(weights, weights_only=True), "vision_modal.x": torch.ones(1)}, weights)
    with pytest.raises(CheckpointError, match=r"has 'vision_modal\.x', which CLIP has not"):
        open_checkpoint(**paths, overrides=llama.edge)


def test_clip_without_quick_gelu_is_refused(llama: Any, three: Any) -> None:
    paths = three(llama)
    (paths["clip"] / "open_clip_config.json").write_text(json.dumps({"model_cfg": {}}))
    with pytest.raises(CheckpointError, match="should say quick_gelu"):
        open_checkpoint(**paths, overrides=llama.edge)


@pytest.mark.parametrize("missing", ["perceiver.layers.1.1.3.weight", "perceiver.norm.bias"])
def test_what_an_openflamingo_lacks_is_named(missing: str, llama: Any, three: Any) -> None:
    paths = three(llama)
    state = torch.load(paths["path"], weights_only=True)
    del state[missing]
    torch.save(state, paths["path"])
    ours = missing.replace(".1.1.3", ".1.feed_forward.3")
    with pytest.raises(CheckpointError, match=f"lacks tensor '{ours}'"):
        open_checkpoint(**paths, overrides=llama.edge)


def test_something_else_for_checkpoint_pt_is_told(llama: Any, three: Any) -> None:
    paths = three(llama)
    torch.save({"a": torch.ones(1)}, paths["path"])
    with pytest.raises(CheckpointError, match="gated_cross_attn_layer tensors, but has 'a'"):
        open_checkpoint(**paths)


def test_inputs_that_do_not_go_together_are_refused(llama: Any, three: Any) -> None:
    paths = three(llama)
    for left_out in ("clip", "language"):
        with pytest.raises(CheckpointError, match="takes both its CLIP and its language model"):
            open_checkpoint(**{**paths, left_out: None})


def test_a_safetensors_part_is_as_good(llama: Any, tmp_path: Path) -> None:
    base = llama.write_config(shards(untrained(llama.state), tmp_path / "base"))
    save_file(trained(llama.state), tmp_path / "part.safetensors")
    checkpoint = open_checkpoint(tmp_path / "part.safetensors", base=base)
    assert llama.difference(checkpoint) < CLOSE


def test_a_file_of_no_known_kind_is_refused(llama: Any, tmp_path: Path) -> None:
    base = llama.write_config(shards(llama.state, tmp_path / "base"))
    (tmp_path / "weights.ckpt").touch()
    with pytest.raises(CheckpointError, match="should be a file of weights"):
        open_checkpoint(tmp_path / "weights.ckpt", base=base)
