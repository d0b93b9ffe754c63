"""A tiny network of every family, and pictures for it."""

from __future__ import annotations

import pytest
import torch

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
