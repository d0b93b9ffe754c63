"""Bundles of random weights, exported once into a cache folder: for speed, not for quality."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from otter_runtime.bundle import MANIFEST, file_sha256, read_manifest, write_manifest
from otter_runtime.errors import UserError

if TYPE_CHECKING:
    from otter_model.checkpoint import Checkpoint

CACHE = Path(tempfile.gettempdir()) / "otter-edge-random"
TOKENIZER = "tokenizer.json"
SMALL_CAPACITIES = (32, 64)


def random_bundle(
    name: str, precision: str, cache: Path, small: Callable[[], Checkpoint] | None = None
) -> Path:
    """The folder of `name` in `precision`, exported unless it is there; it can be asked in words.

    A published size is exported in a process of its own, whose memory ends with it; where `small`
    gives a checkpoint, that one is, here. Raises UserError where there is no such size.
    """
    out = cache / f"{name}-{precision}"
    if not (out / MANIFEST).exists():
        cache.mkdir(parents=True, exist_ok=True)
        if small is not None:
            _small(name, precision, out, small())
        else:
            _exported(name, precision, out)
    _completed(out)
    return out


def _exported(name: str, precision: str, out: Path) -> None:
    words = ["export", "--random", name, "--precision", precision, "-o", str(out), "--json"]
    done = subprocess.run([sys.executable, "-m", "otter_runtime", *words], stdout=sys.stderr)
    if done.returncode:
        raise UserError(f"{name} could not be exported in {precision}; above it says why")


def _completed(out: Path) -> None:
    """Give a bundle without a tokenizer one of bytes; the rest of it stays as it is."""
    manifest = read_manifest(out / MANIFEST)
    if manifest.tokenizer is not None:
        return
    from otter_export.byte_tokenizer import byte_tokenizer

    byte_tokenizer(manifest.tokens, manifest.dims.decoder.vocab).save(str(out / TOKENIZER))
    files = {**manifest.files, TOKENIZER: file_sha256(out / TOKENIZER)}
    told = msgspec.structs.replace(manifest, tokenizer=TOKENIZER, files=files)
    write_manifest(out / MANIFEST, told)


def _small(name: str, precision: str, out: Path, checkpoint: Checkpoint) -> None:
    from otter_export.bundle_writer import Export
    from otter_export.sample import random_samples
    from otter_export.settings import Settings

    samples = random_samples(checkpoint.config, 2, frames=2, length=20)
    settings = Settings(name=name, capacities=SMALL_CAPACITIES)
    Export(checkpoint, precision, samples, settings, threads=1).write(out)
