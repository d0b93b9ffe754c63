"""What several folders' tests share: bundles of tiny random Otters, exported once per session."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

TinyBundle = Callable[..., Path]


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory: pytest.TempPathFactory) -> TinyBundle:
    """`tiny_bundle("mpt", "int8")` is the folder of that bundle; it is not to be changed."""
    from otter_export.bundle_writer import Export
    from otter_export.sample import random_samples
    from otter_export.settings import Settings
    from otter_model.tiny import tiny_checkpoint

    made: dict[tuple[str, str], Path] = {}

    def make(family: str = "mpt", precision: str = "fp32") -> Path:
        if (family, precision) not in made:
            checkpoint = tiny_checkpoint(family, max_frames=4)  # type: ignore[arg-type]
            samples = random_samples(checkpoint.config, 4, frames=3, length=20)
            out = tmp_path_factory.mktemp("bundles") / f"{family}-{precision}"
            settings = Settings(name=family, capacities=(8, 16, 32))
            export = Export(checkpoint, precision, samples, settings, threads=1)
            made[family, precision] = export.write(out).path
        return made[family, precision]

    return make
