"""Do the exported fp32 graphs compute what the reference did? One golden case in, a verdict out.

The device's graphs are batch 1: rows run singly, without their left pads. Beams are the
workstation's (otter_model), so that check is None here.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from otter_export.graphs import write_graphs
from otter_export.layers import Weights
from otter_export.manifest import make_manifest
from otter_export.precision import Choice, Floats
from otter_export.settings import Settings
from otter_model.checkpoint import Checkpoint
from otter_model.errors import TooManyImages
from otter_model.generate import Mode, unpadded
from otter_model.golden import GoldenCase, Verdict
from otter_runtime.bundle import MANIFEST, Bundle, write_manifest
from otter_runtime.onnx_engine import OnnxEngine
from otter_runtime.prompt import media_index


def run_case(case_dir: str | Path) -> Verdict:
    """Exports the case in fp32, runs it through the device's engine, compares.

    Raises CheckpointError or ConfigError where the folder is no golden case, TooManyImages where
    a prompt has too few media.
    """
    case = GoldenCase.open(case_dir)
    with tempfile.TemporaryDirectory(prefix="otter-parity-") as folder:
        engine = fp32_engine(case.checkpoint, Path(folder))
        rows = [_Row(case, engine, row) for row in range(len(case.input_ids))]
        logits = np.zeros((*case.input_ids.shape, case.outputs["logits"].shape[-1]), np.float32)
        for row, runner in enumerate(rows):
            logits[row, case.attention_mask[row] == 1] = runner.logits()
        return Verdict(
            case=case.name,
            max_abs_logit_diff=case.logit_difference(logits),
            ids_equal_seeing=_greedy(case, rows, "seeing"),
            ids_equal_blind=_greedy(case, rows, "blind"),
            ids_equal_beam3=None,
        )


class ReferenceEngine(OnnxEngine):
    """The device's engine, but a generated `<image>` may look past the media, as the reference's.

    No latent is then a token's own, and the graph's softmax over equal masks is uniform: what the
    reference computes too. A device refuses this.
    """

    def _check(self, held: int, ids: Sequence[int], media_index: Sequence[int], media: int) -> None:
        super()._check(held, ids, media_index, max(media, *media_index))


def fp32_engine(checkpoint: Checkpoint, folder: Path) -> ReferenceEngine:
    """The engine on fp32 graphs of `checkpoint`, written to `folder` without golden answers."""
    weights = Weights(checkpoint.tensors)
    choice = Choice.all("fp32")
    write_graphs(folder, checkpoint.config, weights, choice.make({}))
    write_manifest(folder / MANIFEST, make_manifest(checkpoint, Settings(), folder, choice))
    return ReferenceEngine(Bundle.load(folder), threads=1, provider="cpu")


class _Row:
    """One row of a case: its media, and its prompt without pads."""

    def __init__(self, case: GoldenCase, engine: OnnxEngine, row: int) -> None:
        self.engine = engine
        self.media = [engine.resample(engine.encode(pixels)) for pixels in case.vision_x[row]]
        self.tokens = case.checkpoint.config.tokens
        self.ids = unpadded(case.input_ids[row].tolist(), case.attention_mask[row].tolist())
        self.index = media_index(self.ids, self.tokens.image)
        if self.index[-1] > len(self.media):
            raise TooManyImages(self.index[-1], len(self.media), row)

    def logits(self) -> Floats:
        """Of every token of the prompt (tokens, vocab)."""
        return self.engine.logits(self.engine.new_cache(), self.ids, self.index, self.media)

    def greedy(self, mode: Mode, limit: int) -> list[int]:
        """Generated ids, the stop token included, at most `limit`."""
        cache, media = self.engine.new_cache(), self.media
        logits = self.engine.prefill(cache, self.ids, self.index, media)
        ids: list[int] = []
        seen = self.index[-1]
        while len(ids) < limit:
            ids.append(int(logits.argmax()))
            if ids[-1] == self.tokens.endofchunk:
                break
            shown = ids[-1] == self.tokens.image
            seen = seen + shown if mode == "seeing" else int(shown)
            logits = self.engine.step(cache, ids[-1], seen, media)
        return ids


def _greedy(case: GoldenCase, rows: list[_Row], mode: Mode) -> bool | None:
    if not case.expected(mode):
        return None
    return case.same(mode, [row.greedy(mode, case.max_new_tokens) for row in rows])
