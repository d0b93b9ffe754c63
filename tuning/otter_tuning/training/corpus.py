"""The samples of a mixture by group, and their batches: pictures are read when a batch is made."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from otter_model.config import OtterConfig
from otter_runtime.bundle import Preprocess
from otter_runtime.errors import UserError
from otter_runtime.preprocess import Preprocessor
from otter_tuning.mimicit.image_store import STORES, ImageStore
from otter_tuning.mimicit.mixture import read_mixture
from otter_tuning.training.batch import Batch, Pixels, collate
from otter_tuning.training.encoding import Encoded, Encoder
from otter_tuning.training.samples import Sample, read_samples

CACHED = 512  # preprocessed pictures: of 224 x 224, 300 MB


class Corpus:
    """Groups of samples with everything that makes a batch of them."""

    def __init__(
        self,
        mixture: Path,
        encoder: Encoder,
        network: OtterConfig,
        examples: int,
        frames: int,
        squash: bool,
        seed: int,
    ) -> None:
        """Raises UserError where a picture that a sample wants is in no store."""
        self._encoder, self._network = encoder, network
        self._stores: dict[str, ImageStore] = {}
        self._pixels: dict[str, Pixels] = {}
        self._packed: list[tempfile.TemporaryDirectory[str]] = []
        size = network.vision.image_size
        preprocess = Preprocess(size=size, mode="squash" if squash else "crop")
        self.groups: dict[str, list[Sample]] = {}
        for group, sources in read_mixture(mixture).items():
            for source in sources.values():
                where = source.resolved(mixture.parent)
                samples = read_samples(where, examples, frames, seed)
                if path := where.images_path:
                    if path not in self._stores:
                        self._stores[path] = self._store(Path(path))
                        self._pixels[path] = _reader(self._stores[path], Preprocessor(preprocess))
                    _require_pictures(samples, self._stores[path], path)
                self.groups.setdefault(group, []).extend(samples)

    @property
    def sizes(self) -> dict[str, int]:
        """How many samples each group has."""
        return {group: len(samples) for group, samples in self.groups.items()}

    def batch(self, group: str, members: Sequence[int]) -> Batch:
        """These samples of a group, side by side."""
        rows: list[tuple[Encoded, Pixels]] = []
        for at in members:
            sample = self.groups[group][at]
            rows.append((self._encoder(sample.turns), self._pixels.get(sample.images, _nothing)))
        return collate(rows, self._network.tokens.pad, self._network.vision.image_size)

    def _store(self, path: Path) -> ImageStore:
        """The store at `path`, or one made of the file there for as long as this runs."""
        if path.suffix in STORES:
            return ImageStore(path)
        folder = tempfile.TemporaryDirectory(prefix="otter-images-")
        self._packed.append(folder)
        store = ImageStore(Path(folder.name) / "images.sqlite")
        store.read(path)
        return store


def _reader(store: ImageStore, preprocess: Preprocessor) -> Pixels:
    @lru_cache(CACHED)
    def pixels(name: str) -> NDArray[np.float32]:
        return preprocess(store.pixels(name))

    return pixels


def _nothing(name: str) -> NDArray[np.float32]:
    raise UserError(f"{name} has no store; give the mixture's source an images_path")


def _require_pictures(samples: Sequence[Sample], store: ImageStore, path: str) -> None:
    for sample in samples:
        for turn in sample.turns:
            for name in turn.frames:
                if name not in store:
                    raise UserError(
                        f"{sample.name} wants {name}, which is not in {path}; "
                        "repair the set with `otter-edge mimicit repair`"
                    )
