"""Every configuration in `configs/` is one that `otter-edge run` takes, but tuning's."""

from __future__ import annotations

from pathlib import Path

import pytest

from otter_runtime.config import RunConfig, read

CONFIGS = Path(__file__).parents[2] / "configs"
# Accelerate's, for `otter-edge tune` on several processes.
TUNING = sorted((CONFIGS / "tuning").glob("*.yaml"))
FILES = sorted(set(CONFIGS.rglob("*.yaml")) - set(TUNING))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(CONFIGS)))
def test_a_configuration_is_taken_and_overrides_something(path: Path) -> None:
    assert read(path, {}) != RunConfig()


def test_the_readme_lists_every_configuration() -> None:
    text = (CONFIGS / "README.md").read_text()
    assert FILES
    assert [
        str(path) for path in [*FILES, *TUNING] if f"`{path.relative_to(CONFIGS)}`" not in text
    ] == []
