"""Bundles of random weights can be asked in words, those too that were exported without any."""

from __future__ import annotations

from pathlib import Path

import pytest
from random_bundle import random_bundle

from otter_model.checkpoint import Checkpoint
from otter_model.random_weights import RandomTensors
from otter_model.tiny import tiny_checkpoint, tiny_config
from otter_runtime.bundle import MANIFEST, Bundle
from otter_runtime.errors import UserError


def roomy() -> Checkpoint:
    """A tiny network with room for bytes."""
    config = tiny_config("mpt", max_frames=4).with_vocab(300)
    return Checkpoint(config, RandomTensors(config))


def test_it_is_completed_once_and_its_weights_stay(tmp_path: Path) -> None:
    path = random_bundle("tiny", "int8", tmp_path, roomy)
    bundle = Bundle.load(path)  # every file by its hash, the manifest by its own
    assert bundle.manifest.tokenizer in bundle.manifest.files
    weights = (path / "decoder.bin").stat()
    manifest = (path / MANIFEST).read_bytes()
    assert random_bundle("tiny", "int8", tmp_path) == path
    assert (path / MANIFEST).read_bytes() == manifest
    assert (path / "decoder.bin").stat() == weights


def test_a_vocabulary_without_room_for_bytes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="a vocabulary of 64 has no room for 256 bytes"):
        random_bundle("tiny", "int8", tmp_path, lambda: tiny_checkpoint("mpt"))
