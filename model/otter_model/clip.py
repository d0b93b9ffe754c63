"""CLIP's eyes from its own files: Hugging Face's names or open_clip's, either way Otter's after.

The text half, and the projection into the space shared with it, are left out by name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from otter_model.errors import CheckpointError
from otter_model.tensors import Entries, Entry, listed
from otter_model.weights import MODEL_FILES, open_weights, read_json

OPEN_CLIP_CONFIG = "open_clip_config.json"
CLIP_FILES = (*MODEL_FILES, "open_clip_model.safetensors", "open_clip_pytorch_model.bin")

_OURS = "vision_encoder.vision_model."
_HUGGING_FACE = "vision_model."
_OPEN_CLIP = "visual."
_TEXT_HALF = {
    _HUGGING_FACE: (
        "text_model.",
        "text_projection.",
        "visual_projection.",
        "logit_scale",
    ),
    _OPEN_CLIP: (
        "transformer.",
        "token_embedding.",
        "positional_embedding",
        "ln_final.",
        "text_projection",
        "logit_scale",
        "visual.proj",
    ),
}
# open_clip's names after `visual.`; {i} stands for the layer.
_RENAMED = {
    "class_embedding": "embeddings.class_embedding",
    "conv1.weight": "embeddings.patch_embedding.weight",
    "positional_embedding": "embeddings.position_embedding.weight",
    "ln_pre": "pre_layrnorm",
    "ln_post": "post_layernorm",
    "transformer.resblocks.{i}.ln_1": "encoder.layers.{i}.layer_norm1",
    "transformer.resblocks.{i}.ln_2": "encoder.layers.{i}.layer_norm2",
    "transformer.resblocks.{i}.mlp.c_fc": "encoder.layers.{i}.mlp.fc1",
    "transformer.resblocks.{i}.mlp.c_proj": "encoder.layers.{i}.mlp.fc2",
    "transformer.resblocks.{i}.attn.out_proj": "encoder.layers.{i}.self_attn.out_proj",
}
_FUSED = re.compile(r"transformer\.resblocks\.(\d+)\.attn\.in_proj_(weight|bias)$")
_LAYER = re.compile(r"(?<=resblocks\.)\d+")


def open_clip(path: Path) -> tuple[dict[str, Any], Entries]:
    """The `vision_config` and Otter's tensors of CLIP in a folder or file.

    Raises CheckpointError naming what belongs to neither layout.
    """
    found = open_weights(path, CLIP_FILES)
    if any(name.startswith(_OPEN_CLIP) for name in found):
        return _open_clip_config(path, found), _from_open_clip(_eyes(path, found, _OPEN_CLIP))
    eyes = _eyes(path, found, _HUGGING_FACE)
    renamed = {_OURS + name: entry for name, entry in eyes.items()}
    return _hugging_face_config(path), renamed


def _eyes(path: Path, found: Entries, prefix: str) -> Entries:
    """What begins with `prefix`, without it; whatever is not CLIP's is refused."""
    rest = {name for name in found if not name.startswith(_TEXT_HALF[prefix])}
    if unknown := {name for name in rest if not name.startswith(prefix)}:
        raise CheckpointError(
            f"{path} has {listed(unknown)}, which CLIP has not; give CLIP ViT-L/14 in the layout "
            "of Hugging Face (vision_model.…) or open_clip (visual.…)"
        )
    return {name.removeprefix(prefix): found[name] for name in rest}


def _from_open_clip(eyes: Entries) -> Entries:
    renamed: Entries = {}
    for name, entry in eyes.items():
        if fused := _FUSED.match(name):
            layer, kind = fused.groups()
            renamed |= _thirds(f"{_OURS}encoder.layers.{layer}.self_attn.", kind, entry)
        else:
            renamed[_OURS + _hugging_face_name(name)] = entry
    return renamed


def _thirds(attention: str, kind: str, fused: Entry) -> Entries:
    """Query, key and value are the thirds of open_clip's one projection, in this order."""
    dim = fused.shape[0] // 3
    return {
        f"{attention}{part}_proj.{kind}": fused.rows(at * dim, (at + 1) * dim)
        for at, part in enumerate("qkv")
    }


def _hugging_face_name(name: str) -> str:
    if name in _RENAMED:
        return _RENAMED[name]
    layer = _LAYER.search(name)
    stem, _, ending = _LAYER.sub("{i}", name).rpartition(".")
    if stem not in _RENAMED:
        raise CheckpointError(
            f"visual.{name} is not a tensor of open_clip's vision transformer; give ViT-L/14"
        )
    number = layer.group() if layer else ""
    return f"{_RENAMED[stem].replace('{i}', number)}.{ending}"


def _hugging_face_config(path: Path) -> dict[str, Any]:
    """CLIPModel's config has the eyes' in `vision_config`, CLIPVisionModel's is it."""
    if not path.is_dir():
        return {}
    config = read_json(path / "config.json")
    vision: dict[str, Any] = config.get("vision_config") or config
    return vision


def _open_clip_config(path: Path, found: Entries) -> dict[str, Any]:
    """Sizes are the tensors'; the width of a head is 64 unless open_clip's config tells another."""
    file = path / OPEN_CLIP_CONFIG
    model: dict[str, Any] = {"quick_gelu": True}
    if file.is_file():
        model = read_json(file).get("model_cfg") or {}
    if not model.get("quick_gelu"):
        raise CheckpointError(
            f"{file} should say quick_gelu, as OpenAI's CLIP does and Otter was trained with, "
            f"but says {model.get('quick_gelu')!r}; give the weights that OpenAI published"
        )
    return _sizes(found, model.get("vision_cfg") or {})


def _sizes(found: Entries, vision: Mapping[str, Any]) -> dict[str, Any]:
    conv, positions = found.get("visual.conv1.weight"), found.get("visual.positional_embedding")
    wide = found.get("visual.transformer.resblocks.0.mlp.c_fc.weight")
    if conv is None or positions is None or wide is None:
        raise CheckpointError(
            "open_clip's weights lack visual.conv1.weight, visual.positional_embedding or "
            "visual.transformer.resblocks.0; give those of a vision transformer, ViT-L/14"
        )
    dim, patch = conv.shape[0], conv.shape[-1]
    layers = {
        layer.group() for name in found if "visual." in name and (layer := _LAYER.search(name))
    }
    return {
        "hidden_act": "quick_gelu",
        "image_size": round((positions.shape[0] - 1) ** 0.5) * patch,
        "patch_size": patch,
        "hidden_size": dim,
        "num_hidden_layers": len(layers),
        "num_attention_heads": dim // int(vision.get("head_width", 64)),
        "intermediate_size": wide.shape[0],
    }
