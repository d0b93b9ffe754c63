"""Checkpoint to bundle: graphs in one precision, golden answers, hashes, measured figures.

Everything is written beside the target and moved there at the end, so a bundle is whole or not
there. It knows the order of the work; how a graph or a scale is made, others know.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx

from otter_export.builder import Builder
from otter_export.decoder_graph import DecoderGraph
from otter_export.golden_set import answered, golden_prompts, golden_set
from otter_export.layers import Weights
from otter_export.precision import Fp32, Int8, Precision
from otter_export.reference import Progress, Reference
from otter_export.resampler_graph import ResamplerGraph
from otter_export.sample import Sample, samples_sha256
from otter_export.settings import Settings
from otter_export.step_cost import step_cost
from otter_export.vision_graph import VisionGraph
from otter_export.weight_file import WeightFile
from otter_model.checkpoint import Checkpoint
from otter_model.config import OtterConfig
from otter_model.random_weights import RandomTensors
from otter_runtime import bundle as format
from otter_runtime.bundle import Bundle, Manifest
from otter_runtime.errors import UserError
from otter_runtime.golden import Golden, check, pack
from otter_runtime.onnx_engine import open_engine

GRAPHS = ("vision", "resampler", "decoder")
TOKENIZER = "tokenizer.json"
# Up to here the fp32 graphs are written aside and give the golden answers; a larger network's
# answers are the bundle's own, held to fp32 by their logits only.
FP32_ANSWERS_BYTES = 1 << 30


def silent(what: str, done: int, total: int) -> None:
    """Progress that nobody watches."""


@dataclass(frozen=True)
class Export:
    """One export: what goes in. `source` is what the manifest says of the checkpoint."""

    checkpoint: Checkpoint
    precision: str
    samples: Sequence[Sample]
    settings: Settings = field(default_factory=Settings)
    source: dict[str, Any] | None = None
    progress: Progress = silent
    threads: int = 0

    def write(self, out: Path, overwrite: bool = False) -> Bundle:
        """Write the bundle to folder `out`.

        Raises UserError where the folder holds something else, or there is no sample.
        """
        _vacant(out, overwrite)
        require_complete(self.checkpoint)
        if not self.samples:
            raise UserError("there are no samples to verify on; give --calibration a file that has")
        partial = out.with_name(out.name + ".partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        try:
            self._write(partial)
            if out.exists():
                shutil.rmtree(out)
            partial.rename(out)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        return Bundle.load(out, verify=False)  # the hashes were taken a moment ago

    def _write(self, folder: Path) -> None:
        config, weights = self.checkpoint.config, Weights(self.checkpoint.tensors)
        prompts = golden_prompts(self.samples, config.tokens.answer, config.tokens.image)
        reference = Reference(config, weights, self.progress, self.threads)
        truths = reference.run([*self.samples, *prompts])[len(self.samples) :]
        small = parameters_bytes(self.checkpoint) <= FP32_ANSWERS_BYTES
        golden = golden_set(prompts, truths, "fp32" if small else "bundle")
        if self.precision == "fp32" or not small:
            self._graphs(folder, reference.ranges, golden)
        else:
            truth = folder / "fp32"
            truth.mkdir()
            replace(self, precision="fp32")._graphs(truth, {}, golden)
            golden = replace(golden, answers=self._answers(truth, golden))
            shutil.rmtree(truth)
            self._graphs(folder, reference.ranges, golden)
        if not golden.answers:
            known = format.read_manifest(folder / format.MANIFEST).files
            golden = replace(golden, answers=self._answers(folder, golden))
            self._manifest(folder, golden, known)
        self._measure(folder, golden)

    def _graphs(self, folder: Path, ranges: dict[str, Any], golden: Golden) -> None:
        """Graphs, tokenizer, golden answers and manifest into `folder`."""
        config, weights = self.checkpoint.config, Weights(self.checkpoint.tensors)
        precision: Precision = Fp32() if self.precision == "fp32" else Int8(ranges)
        for at, (name, build) in enumerate(graph_builders(config, weights).items()):
            self.progress(f"{precision.name} {name}", at, len(GRAPHS))
            with WeightFile(folder / f"{name}.bin") as file:
                b = Builder(name, file)
                build(b, precision)
            b.save(folder / f"{name}.onnx")
        self.progress(f"{precision.name} graphs", len(GRAPHS), len(GRAPHS))
        if self.checkpoint.tokenizer is not None:
            shutil.copyfile(self.checkpoint.tokenizer, folder / TOKENIZER)
        self._manifest(folder, golden)

    def _answers(self, folder: Path, golden: Golden) -> list[list[int]]:
        return answered(golden, open_engine(Bundle.load(folder, verify=False)))

    def _manifest(
        self, folder: Path, golden: Golden, known: Mapping[str, str] | None = None
    ) -> None:
        np.savez_compressed(folder / format.GOLDEN, **pack(golden))  # type: ignore[arg-type]
        self.progress("hashes", 0, 1)
        manifest = make_manifest(self.checkpoint, self.settings, folder, self.precision, known)
        calibration = {"samples": len(self.samples), "sha256": samples_sha256(self.samples)}
        manifest = msgspec.structs.replace(
            manifest, source=self.source or {}, calibration=calibration
        )
        format.write_manifest(folder / format.MANIFEST, manifest)

    def _measure(self, folder: Path, golden: Golden) -> None:
        """Verify the bundle on this machine and put the figures into its manifest."""
        self.progress("verification", 0, 1)
        made = Bundle.load(folder, verify=False)
        engine = open_engine(made)
        figures = check(engine, golden, made.manifest.decoding, made.manifest.tokens)
        stated = {**msgspec.to_builtins(figures), "golden_answers_of": golden.reference}
        manifest = msgspec.structs.replace(
            made.manifest,
            verification=stated,
            step_cost=step_cost(engine, made.manifest, golden),
        )
        format.write_manifest(folder / format.MANIFEST, manifest)
        self.progress("verification", 1, 1)


def graph_builders(
    config: OtterConfig, weights: Weights
) -> dict[str, Callable[[Builder, Precision], None]]:
    """What writes each of the three graphs."""
    return {
        "vision": VisionGraph(config.vision, weights).build,
        "resampler": ResamplerGraph(config, weights).build,
        "decoder": DecoderGraph(config.decoder, config.perceiver.latents, weights).build,
    }


def make_manifest(
    checkpoint: Checkpoint,
    settings: Settings,
    folder: Path,
    precision: str,
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
        graphs=format.Graphs(**{name: graph_entry(folder, name, precision) for name in GRAPHS}),
        files={path.name: _hash(path, known or {}) for path in files if path.is_file()},
    )


def require_complete(checkpoint: Checkpoint) -> None:
    """Raise UserError where a tensor is missing, unknown or of another shape; it is named."""
    expected = RandomTensors(checkpoint.config)
    for what, names in (
        ("lacks the tensor", set(expected) - set(checkpoint.tensors)),
        ("has the unknown tensor", set(checkpoint.tensors) - set(expected)),
    ):
        if names:
            raise UserError(
                f"the checkpoint {what} {min(names)} and {len(names) - 1} more; "
                "its config.json belongs to other weights"
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


def graph_entry(folder: Path, name: str, precision: str) -> format.Graph:
    """What the manifest says of one graph, read off its file."""
    model = onnx.load(str(folder / f"{name}.onnx"), load_external_data=False)
    return format.Graph(
        file=f"{name}.onnx",
        data=f"{name}.bin",
        precision=precision,
        opset=model.opset_import[0].version,
        inputs=[_spec(value) for value in model.graph.input],
        outputs=[_spec(value) for value in model.graph.output],
    )


def parameters_bytes(checkpoint: Checkpoint) -> int:
    """Bytes of the network in fp32, from the config alone."""
    v, p, d = checkpoint.config.vision, checkpoint.config.perceiver, checkpoint.config.decoder
    inner = d.cross_heads * d.cross_head_dim
    gated = 2 * d.dim * (inner + d.cross_ff_mult * d.dim) + 2 * p.dim * inner
    ups = 2 if d.family == "llama" else 1
    body = d.layers * d.dim * (4 * d.dim + (1 + ups) * d.mlp_dim) + len(d.gated_layers) * gated
    heads = d.vocab * d.dim * (1 if d.tied_head else 2)
    vision = v.layers * v.dim * (4 * v.dim + 2 * v.mlp_dim)
    perceiver = p.depth * p.dim * (4 * p.heads * p.head_dim + 2 * p.ff_mult * p.dim)
    return 4 * (body + heads + vision + perceiver)


def _hash(path: Path, known: Mapping[str, str]) -> str:
    if path.name in known and path.name != format.GOLDEN:
        return known[path.name]
    return format.file_sha256(path)


def _spec(value: onnx.ValueInfoProto) -> format.TensorSpec:
    tensor = value.type.tensor_type
    shape = [dim.dim_param or int(dim.dim_value) for dim in tensor.shape.dim]
    dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type).name
    return format.TensorSpec(name=value.name, dtype=dtype, shape=shape)


def _vacant(out: Path, overwrite: bool) -> None:
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not (out / format.MANIFEST).is_file():
        raise UserError(f"{out} exists and is not a bundle; give a new folder")
    if not overwrite:
        raise UserError(f"{out} holds a bundle; give --overwrite to replace it, or a new folder")
