"""A tiny network of every family, and pictures for it; golden cases to be written in any layout."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from otter_model.checkpoint import WEIGHTS, Checkpoint
from otter_model.golden import GoldenCase
from otter_model.otter import Otter
from otter_model.tiny import FAMILIES, tiny_checkpoint


@pytest.fixture(scope="session", params=FAMILIES)
def otter(request: pytest.FixtureRequest) -> Otter:
    """A tiny network without gradients, one per family."""
    return tiny_checkpoint(request.param).build().requires_grad_(False)


@pytest.fixture
def vision_x() -> torch.Tensor:
    """(1, 3, 1, 3, 16, 16): three pictures of one row."""
    return torch.randn(1, 3, 1, 3, 16, 16, generator=torch.Generator().manual_seed(5))


@dataclass(frozen=True)
class Golden:
    """A golden case: its weights by Otter's names, its configs, and the reference's logits."""

    case: GoldenCase
    state: dict[str, Tensor]
    config: dict[str, Any]  # config.json with the otter_edge block in it

    @property
    def edge(self) -> dict[str, Any]:
        block: dict[str, Any] = self.config["otter_edge"]
        return block

    def write_config(self, folder: Path) -> Path:
        """config.json alone."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.json").write_text(json.dumps(self.config))
        return folder

    def difference(self, checkpoint: Checkpoint) -> float:
        """The largest |difference| of the checkpoint's logits from the reference's."""
        otter = checkpoint.build().requires_grad_(False)
        ids, mask = self.case.input_ids, self.case.attention_mask
        tensors = [torch.from_numpy(x) for x in (self.case.vision_x, ids, mask)]
        return self.case.logit_difference(otter(*tensors).numpy())


@pytest.fixture(scope="session")
def golden() -> Callable[[str], Golden]:
    """`golden("mpt1b-single-image")`; its tensors are not to be changed."""
    root = Path(__file__).parents[1] / "golden"

    def open_case(name: str) -> Golden:
        meta = json.loads((root / name / "meta.json").read_text())
        edge = {key: meta[key] for key in ("perceiver", "xattn", "tokens")}
        config = json.loads((root / name / "config.json").read_text())
        return Golden(
            GoldenCase.open(root / name),
            load_file(root / name / WEIGHTS),
            {**config, "otter_edge": edge},
        )

    return open_case
