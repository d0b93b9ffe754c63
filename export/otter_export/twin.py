"""The fp32 twin of a bundle: the same network and settings, nothing quantized.

It is an fp32 bundle that somebody has, or is made of the checkpoint that the bundle came from.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from otter_export.bundle_writer import Export
from otter_export.progress import Progress
from otter_export.sample import Sample
from otter_export.settings import Settings
from otter_export.source import Source
from otter_model.checkpoint import Checkpoint
from otter_model.errors import ModelError
from otter_runtime.bundle import GRAPHS, MANIFEST, Bundle
from otter_runtime.errors import UserError


@dataclass(frozen=True)
class Twin:
    """The fp32 bundle, and the checkpoint where that is at hand."""

    bundle: Bundle
    checkpoint: Checkpoint | None = None

    @classmethod
    def of(
        cls,
        bundle: Bundle,
        path: Path,
        samples: list[Sample],
        folder: Path,
        progress: Progress,
    ) -> Twin:
        """The twin at `path`, an fp32 bundle or a checkpoint's folder; `folder` may be written to.

        Raises UserError where it is neither, or not of this bundle's network.
        """
        made = cls._bundled(path) if (path / MANIFEST).is_file() else None
        made = made or cls._exported(bundle, path, samples, folder, progress)
        ours, theirs = bundle.manifest, made.bundle.manifest
        if (ours.family, ours.dims) != (theirs.family, theirs.dims):
            raise UserError(
                f"{path} is another network than {bundle.path}: their family or dimensions differ; "
                "give the checkpoint that the bundle was made of"
            )
        return made

    @classmethod
    def _bundled(cls, path: Path) -> Twin:
        bundle = Bundle.load(path)
        for name in GRAPHS:
            precision = getattr(bundle.manifest.graphs, name).precision
            if precision != "fp32":
                raise UserError(
                    f"{path} is an {precision} bundle ({name}); give an fp32 bundle or a checkpoint"
                )
        return cls(bundle)

    @classmethod
    def _exported(
        cls,
        bundle: Bundle,
        path: Path,
        samples: list[Sample],
        folder: Path,
        progress: Progress,
    ) -> Twin:
        source, stated = Source(path, {}), bundle.manifest.source.get("sha256")
        try:
            checkpoint = source.open()
        except ModelError as error:
            raise UserError(str(error)) from error
        if stated is not None and source.describe()["sha256"] != stated:
            raise UserError(
                f"{path} is not what {bundle.path} was made of (sha256 {stated[:12]}… is stated); "
                "give that checkpoint, or an fp32 bundle of it"
            )
        settings = Settings.of(bundle.manifest)
        export = Export(checkpoint, "fp32", samples, settings, progress=progress)
        return cls(export.write(folder / "fp32"), checkpoint)
