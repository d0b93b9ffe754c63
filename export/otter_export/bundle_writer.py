"""Checkpoint to bundle: graphs in the precisions chosen, golden answers, hashes, measured figures.

Everything is written beside the target and moved there at the end, so a bundle is whole or not
there. It knows the order of the work; how a graph or a scale is made, others know.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from otter_export.golden_set import answered, golden_prompts, golden_set
from otter_export.graphs import write_graphs
from otter_export.layers import Weights
from otter_export.manifest import TOKENIZER, make_manifest
from otter_export.precision import Choice, Seen
from otter_export.progress import Progress, silent
from otter_export.reference import Reference
from otter_export.sample import Sample, samples_sha256
from otter_export.settings import Settings
from otter_export.step_cost import step_cost
from otter_model.checkpoint import Checkpoint
from otter_model.random_weights import RandomTensors
from otter_runtime import bundle as format
from otter_runtime.bundle import Bundle
from otter_runtime.errors import UserError
from otter_runtime.golden import Golden, check, pack
from otter_runtime.onnx_engine import open_engine

# Up to here the fp32 graphs are written aside and give the golden answers; a larger network's
# answers are the bundle's own, held to fp32 by their logits only.
FP32_ANSWERS_BYTES = 1 << 30


@dataclass(frozen=True)
class Export:
    """One export: what goes in.

    `source` and `calibration` are what the manifest says of the checkpoint and of the samples;
    `precision` may be a text that `Choice.parse` reads: `int8`, or `vision=fp16,decoder=int8`.
    """

    checkpoint: Checkpoint
    precision: Choice | str
    samples: Sequence[Sample]
    settings: Settings = field(default_factory=Settings)
    source: dict[str, Any] | None = None
    calibration: dict[str, Any] | None = None
    progress: Progress = silent
    threads: int = 0

    @property
    def choice(self) -> Choice:
        """The precision of each part."""
        given = self.precision
        return given if isinstance(given, Choice) else Choice.parse(given)

    def write(self, out: Path, overwrite: bool = False) -> Bundle:
        """Write the bundle to folder `out`.

        Raises UserError where the folder holds something else, or there is no sample.
        """
        _vacant(out, overwrite)
        require_complete(self.checkpoint)
        if not self.samples:
            raise UserError("there are no samples to verify on; give --calibration a file that has")
        partial = out.with_name(out.name + ".partial")
        _make(partial)
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
        reference = Reference(config, weights, self.progress, self.threads, self.choice.wants())
        truths = reference.run([*self.samples, *prompts])[len(self.samples) :]
        small = parameters_bytes(self.checkpoint) <= FP32_ANSWERS_BYTES
        golden = golden_set(prompts, truths, "fp32" if small else "bundle")
        if self.choice == Choice.all("fp32") or not small:
            self._graphs(folder, reference.seen, golden)
        else:
            truth = folder / "fp32"
            truth.mkdir()
            replace(self, precision="fp32")._graphs(truth, {}, golden)
            golden = replace(golden, answers=self._answers(truth, golden))
            shutil.rmtree(truth)
            self._graphs(folder, reference.seen, golden)
        del reference  # what calibration saw may be gigabytes; running the bundle takes its own
        if not golden.answers:
            known = format.read_manifest(folder / format.MANIFEST).files
            golden = replace(golden, answers=self._answers(folder, golden))
            self._manifest(folder, golden, known)
        self._measure(folder, golden)

    def _graphs(self, folder: Path, seen: Seen, golden: Golden) -> None:
        """Graphs, tokenizer, golden answers and manifest into `folder`."""
        weights, parts = Weights(self.checkpoint.tensors), self.choice.make(seen)
        write_graphs(folder, self.checkpoint.config, weights, parts, self.progress)
        if self.checkpoint.tokenizer is not None:
            shutil.copyfile(self.checkpoint.tokenizer, folder / TOKENIZER)
        self._manifest(folder, golden)

    def _answers(self, folder: Path, golden: Golden) -> list[list[int]]:
        return answered(
            golden, open_engine(Bundle.load(folder, verify=False), self.threads or None)
        )

    def _manifest(
        self, folder: Path, golden: Golden, known: Mapping[str, str] | None = None
    ) -> None:
        np.savez_compressed(folder / format.GOLDEN, **pack(golden))  # type: ignore[arg-type]
        self.progress("hashes", 0, 1)
        manifest = make_manifest(self.checkpoint, self.settings, folder, self.choice, known)
        calibration = {
            **(self.calibration or {}),
            "samples": len(self.samples),
            "sha256": samples_sha256(self.samples),
        }
        manifest = msgspec.structs.replace(
            manifest, source=self.source or {}, calibration=calibration
        )
        format.write_manifest(folder / format.MANIFEST, manifest)

    def _measure(self, folder: Path, golden: Golden) -> None:
        """Verify the bundle on this machine and put the figures into its manifest."""
        self.progress("verification", 0, 1)
        made = Bundle.load(folder, verify=False)
        engine = open_engine(made, self.threads or None)
        figures = check(engine, golden, made.manifest.decoding, made.manifest.tokens)
        stated = {**msgspec.to_builtins(figures), "golden_answers_of": golden.reference}
        manifest = msgspec.structs.replace(
            made.manifest,
            verification=stated,
            step_cost=step_cost(engine, made.manifest, golden),
        )
        format.write_manifest(folder / format.MANIFEST, manifest)
        self.progress("verification", 1, 1)


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


def _make(folder: Path) -> None:
    """`folder`, empty, whatever a run that was cut left there; raises UserError."""
    shutil.rmtree(folder, ignore_errors=True)
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise UserError(
            f"{folder} cannot be made ({error.strerror}); give -o another folder"
        ) from error


def _vacant(out: Path, overwrite: bool) -> None:
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not (out / format.MANIFEST).is_file():
        raise UserError(f"{out} exists and is not a bundle; give a new folder")
    if not overwrite:
        raise UserError(f"{out} holds a bundle; give --overwrite to replace it, or a new folder")
