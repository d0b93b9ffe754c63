"""What a bundle's manifest says of its network and its files, read off both."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnx

from otter_export.half_builder import ISLANDS
from otter_export.network_size import OF_GRAPH
from otter_export.precision import RECIPES, Choice
from otter_export.settings import Settings
from otter_model.checkpoint import Checkpoint
from otter_model.config import OtterConfig
from otter_runtime import bundle as format
from otter_runtime.bundle import GRAPHS, Manifest

TOKENIZER = "tokenizer.json"


def make_manifest(
    checkpoint: Checkpoint,
    settings: Settings,
    folder: Path,
    choice: Choice,
    known: Mapping[str, str] | None = None,
) -> Manifest:
    """The manifest of the files in `folder`, each with its hash.

    `known` hashes are taken as they are, but for golden.npz, which is written last.
    """
    config, chosen = checkpoint.config, settings.for_network(checkpoint.config)
    tokens = config.tokens
    files = sorted(path for path in folder.iterdir() if path.name != format.MANIFEST)
    return Manifest(
        format=format.FORMAT,
        name=settings.name,
        family=config.decoder.family,
        dims=dims(config),
        capacities=list(chosen.capacities),
        prompt=chosen.prompt,
        tokens=format.Tokens(
            image=tokens.image,
            answer=tokens.answer,
            endofchunk=tokens.endofchunk,
            pad=tokens.pad,
            bos=tokens.bos,
        ),
        decoding=chosen.decoding,
        preprocess=chosen.preprocess(config),
        window=chosen.window,
        tokenizer=TOKENIZER if (folder / TOKENIZER).exists() else None,
        graphs=format.Graphs(**{name: graph_entry(folder, name, choice) for name in GRAPHS}),
        files={path.name: _hash(path, known or {}) for path in files if path.is_file()},
    )


def dims(config: OtterConfig) -> format.Dims:
    """The sizes that the runtime needs."""
    v, p, d = config.vision, config.perceiver, config.decoder
    return format.Dims(
        vision=format.VisionDims(
            image_size=v.image_size, patch_size=v.patch_size, patches=v.patches, dim=v.dim
        ),
        resampler=format.ResamplerDims(latents=p.latents, max_frames=p.max_frames),
        decoder=format.DecoderDims(
            layers=d.layers,
            gated_layers=len(d.gated_layers),
            heads=d.heads,
            head_dim=d.head_dim,
            dim=d.dim,
            vocab=d.vocab,
            max_positions=d.max_positions,
            cross_heads=d.cross_heads,
            cross_head_dim=d.cross_head_dim,
        ),
    )


def graph_entry(folder: Path, name: str, choice: Choice) -> format.Graph:
    """What the manifest says of one graph, read off its file."""
    model = onnx.load(str(folder / f"{name}.onnx"), load_external_data=False)
    parts = choice.parts()
    tensorrt = all(RECIPES[parts[part]].tensorrt for part in OF_GRAPH[name])
    return format.Graph(
        file=f"{name}.onnx",
        data=f"{name}.bin",
        precision=parts[name],
        head=parts["head"] if "head" in OF_GRAPH[name] else None,
        tensorrt=tensorrt,
        islands=_islands(model),
        opset=model.opset_import[0].version,
        inputs=[_spec(value) for value in model.graph.input],
        outputs=[_spec(value) for value in model.graph.output],
    )


def _islands(model: onnx.ModelProto) -> dict[str, Any]:
    told = {entry.key: entry.value for entry in model.metadata_props}.get(ISLANDS)
    islands: dict[str, Any] = {} if told is None else json.loads(told)
    return islands


def _hash(path: Path, known: Mapping[str, str]) -> str:
    if path.name in known and path.name != format.GOLDEN:
        return known[path.name]
    return format.file_sha256(path)


def _spec(value: onnx.ValueInfoProto) -> format.TensorSpec:
    tensor = value.type.tensor_type
    shape = [dim.dim_param or int(dim.dim_value) for dim in tensor.shape.dim]
    dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type).name
    return format.TensorSpec(name=value.name, dtype=dtype, shape=shape)
