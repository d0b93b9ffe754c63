"""The samples of a mixture by group, and their batches: pictures are read when a batch is made."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
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
from otter_tuning.training.augmentation import Changes, clip_of
from otter_tuning.training.batch import Batch, Patches, Pixels, Row, collate
from otter_tuning.training.config import AugmentConfig
from otter_tuning.training.encoding import Encoder
from otter_tuning.training.labels import UNKNOWN, Labels
from otter_tuning.training.mixing import Planned
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
        augment: AugmentConfig | None = None,
        together: bool = False,
    ) -> None:
        """Raises UserError where a picture that a sample wants is in no store."""
        self._encoder, self._network = encoder, network
        self._augment, self._together, self._seed = augment, together, seed
        self._labels: dict[str, Labels] = {}
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
                if (path := where.labels_path) and path not in self._labels:
                    self._labels[path] = Labels.read(Path(path))
                self.groups.setdefault(group, []).extend(samples)

    @property
    def units(self) -> dict[str, list[list[int]]]:
        """Each group's samples; with `together` all about one clip in one unit."""
        return {group: self._gathered(samples) for group, samples in self.groups.items()}

    @property
    def labels(self) -> Labels | None:
        """The dense labels of the first source that has any."""
        return next(iter(self._labels.values()), None)

    def batch(self, planned: Planned, epoch: int = 0) -> Batch:
        """These samples of a group, side by side, changed as the epoch has it."""
        changes = None
        if self._augment is not None:
            changes = Changes(self._augment, (self._seed, epoch, planned.place))
        reader = _Rows(self._encoder, self._pixels, self._labels, changes)
        rows = [reader(self.groups[planned.group][at]) for at in planned.members]
        return collate(rows, self._network.tokens.pad, self._network.vision.image_size)

    def _gathered(self, samples: Sequence[Sample]) -> list[list[int]]:
        if not self._together:
            return [[at] for at in range(len(samples))]
        units: dict[str, list[int]] = {}
        for at, sample in enumerate(samples):
            frames = sample.turns[-1].frames
            units.setdefault(clip_of(frames[-1]) if frames else sample.name, []).append(at)
        return list(units.values())

    def _store(self, path: Path) -> ImageStore:
        """The store at `path`, or one made of the file there for as long as this runs."""
        if path.suffix in STORES:
            return ImageStore(path)
        folder = tempfile.TemporaryDirectory(prefix="otter-images-")
        self._packed.append(folder)
        store = ImageStore(Path(folder.name) / "images.sqlite")
        store.read(path)
        return store


class _Rows:
    """Makes rows of samples for one batch: each picture has one reader, so that it is read once."""

    def __init__(
        self,
        encoder: Encoder,
        pixels: Mapping[str, Pixels],
        labels: Mapping[str, Labels],
        changes: Changes | None,
    ) -> None:
        self._encoder, self._labels, self._changes = encoder, labels, changes
        self._pixels = {path: self._changed(read) for path, read in pixels.items()}

    def __call__(self, sample: Sample) -> Row:
        turns = sample.turns if self._changes is None else self._changes.turns(sample.turns)
        pixels = self._pixels.get(sample.images, _nothing)
        labels = self._labels.get(sample.labels)
        if labels is None:
            return Row(self._encoder(turns), pixels)
        return Row(self._encoder(turns), pixels, self._patches(labels), self._slots(labels, sample))

    def _changed(self, read: Pixels) -> Pixels:
        changes = self._changes
        if changes is None:
            return read
        return lambda name: changes.of(name).pixels(read(name))

    def _patches(self, labels: Labels) -> Patches:
        def read(name: str) -> NDArray[np.int64]:
            known = labels.patches_of(name)
            return known if self._changes is None else self._changes.of(name).patches(known)

        return read

    def _slots(self, labels: Labels, sample: Sample) -> NDArray[np.int64]:
        known = labels.slots_of(sample.name)
        frames, changes = sample.turns[-1].frames, self._changes
        if changes is None or not frames or not changes.of(frames[-1]).mirrored:
            return known
        mirrored = changes.mirror.classes(labels.slot_classes)[known]
        return np.where(known == UNKNOWN, UNKNOWN, mirrored)


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
