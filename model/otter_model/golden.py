"""Golden cases: a tiny checkpoint with inputs, and what the reference computed from them.

A case is a folder with config.json, model.safetensors, meta.json (the sizes and token ids that
config.json leaves out, in the shape of an `otter_edge` block), inputs.npz and outputs.npz.
Everything is read from those files, nothing from the folder's name. Knows nothing of who computes
the other side of the comparison.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypedDict

import numpy as np
from numpy.typing import NDArray

from otter_model.checkpoint import Checkpoint, open_checkpoint
from otter_model.errors import CheckpointError

Ids = NDArray[np.int64]

# Which greedy runs of the reference must equal which mode; all of those present are compared.
# `gen_openflamingo` is cached and sees, `gen_nocache` and `gen_naive` recompute everything.
_SEEING = ("gen_naive", "gen_openflamingo", "gen_nocache")
_BLIND = ("gen_cache",)
_RUNS: dict[str, tuple[str, ...]] = {
    "seeing": _SEEING,
    "blind": _BLIND,
    "beam3_seeing": ("gen_beam3_naive", "gen_beam3_openflamingo", "gen_beam3_nocache"),
    "beam3_blind": ("gen_beam3_cache",),
}
Run = Literal["seeing", "blind", "beam3_seeing", "beam3_blind"]


class Verdict(TypedDict):
    """How a case came out; None where the case, or the backend, has no such run."""

    case: str
    max_abs_logit_diff: float
    ids_equal_seeing: bool | None
    ids_equal_blind: bool | None
    ids_equal_beam3: bool | None


@dataclass(frozen=True)
class GoldenCase:
    """One folder; arrays as README of the golden cases describes them."""

    name: str
    checkpoint: Checkpoint
    vision_x: NDArray[np.float32]  # (B, M, F, 3, H, W), normalised
    input_ids: Ids  # (B, L)
    attention_mask: Ids  # (B, L), 0 at pads
    outputs: Mapping[str, NDArray[Any]]

    @staticmethod
    def open(folder: str | Path) -> GoldenCase:
        """Reads everything but the weights. Raises CheckpointError naming what is missing."""
        path = Path(folder)
        meta = _meta(path / "meta.json")
        inputs = _arrays(path / "inputs.npz", "vision_x", "input_ids")
        ids = inputs["input_ids"].astype(np.int64)
        return GoldenCase(
            name=path.resolve().name,
            checkpoint=open_checkpoint(path, meta),
            vision_x=inputs["vision_x"].astype(np.float32),
            input_ids=ids,
            attention_mask=inputs.get("attention_mask", np.ones_like(ids)),
            outputs=_arrays(path / "outputs.npz", "logits"),
        )

    @property
    def max_new_tokens(self) -> int:
        """How many tokens the reference was allowed; a run that ended early is shorter."""
        runs = (key for key in self.outputs if key.startswith("gen_") and "logits" not in key)
        return max((self.outputs[key].shape[1] for key in runs), default=0)

    def expected(self, run: Run) -> list[Ids]:
        """The reference's runs (B,n) that `run` must equal; none if the case has none."""
        keys = _RUNS[run]
        config = self.checkpoint.config
        if run.endswith("blind") == config.use_cache:
            # What the reference does when asked nothing: cached (blind) or not, after its config.
            keys += ("gen_beam3_default",) if run.startswith("beam3") else ("gen_default",)
        return [self.outputs[key] for key in keys if key in self.outputs]

    def same(self, run: Run, rows: Sequence[Sequence[int]]) -> bool | None:
        """Are the ids, one list per row, equal to the reference's up to each answer's end?"""
        expected = self.expected(run)
        if not expected:
            return None
        stop = self.checkpoint.config.tokens.endofchunk
        return all(
            _answer(got, stop) == _answer(want.tolist(), stop)
            for wanted in expected
            for got, want in zip(rows, wanted, strict=True)
        )

    def logit_difference(self, logits: NDArray[np.float32]) -> float:
        """The largest |difference| of logits (B,L,V) from the reference's, pads left out."""
        kept = self.attention_mask == 1
        return float(np.abs(logits - self.outputs["logits"])[kept].max())


def _answer(ids: Sequence[int], stop: int) -> list[int]:
    """Up to and with the first stop token; what follows in a batch is padding."""
    ids = list(ids)
    return ids[: ids.index(stop) + 1] if stop in ids else ids


def _meta(path: Path) -> dict[str, Any]:
    try:
        meta: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise CheckpointError(f"{path} does not exist; give the folder of a golden case") from None
    except ValueError as error:
        raise CheckpointError(f"{path} is not valid JSON ({error}); fetch it again") from None
    return {key: meta[key] for key in ("perceiver", "xattn", "tokens") if key in meta}


def _arrays(path: Path, *needed: str) -> dict[str, NDArray[Any]]:
    try:
        # Opened here: where it is no zip file, np.load would leave it open.
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            arrays = dict(file)
    except FileNotFoundError:
        raise CheckpointError(f"{path} does not exist; give the folder of a golden case") from None
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise CheckpointError(f"{path} cannot be read ({error}); fetch it again") from None
    if missing := [name for name in needed if name not in arrays]:
        raise CheckpointError(f"{path} lacks {missing[0]}; give the folder of a golden case")
    return arrays
