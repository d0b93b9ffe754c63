"""Built engines on disk: `engines/<gpu>-<tensorrt>-<graph hash>/` in the bundle.

An engine fits one kind of GPU, one TensorRT and these graphs, so all three are in the name. Each
plan is held to its sha256. It does not know how plans are made or run.
"""

from __future__ import annotations

import mmap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from otter_runtime.bundle import GRAPHS, Bundle, file_sha256, model_hash
from otter_runtime.errors import BundleError, UserError

FOLDER = "engines"
RECORD = "engine.json"


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """What engine.json says of the plans beside it."""

    gpu: str
    tensorrt: str
    graphs: str  # hash of the graphs and their weights
    files: dict[str, str]  # plan: sha256
    figures: dict[str, Any] = {}
    seconds: float = 0.0


@dataclass(frozen=True)
class Plans:
    """The three plans in a folder."""

    folder: Path
    record: Record

    @classmethod
    def open(cls, bundle: Bundle, gpu: str, tensorrt: str) -> Plans:
        """The plans for this GPU and TensorRT.

        Raises UserError where none were built, BundleError where one is not what was built.
        """
        folder = plans_folder(bundle, gpu, tensorrt)
        if not (folder / RECORD).is_file():
            raise UserError(
                f"there is no engine for {gpu} and TensorRT {tensorrt} in {bundle.path}; "
                f"run: otter-edge build {bundle.path}"
            )
        return cls.load(folder)

    @classmethod
    def load(cls, folder: Path) -> Plans:
        """The plans in `folder`; BundleError where one differs from its hash."""
        try:
            record = msgspec.json.decode((folder / RECORD).read_bytes(), type=Record)
        except (OSError, msgspec.MsgspecError) as error:
            raise BundleError(f"{folder / RECORD} cannot be read ({error}); build again") from error
        for name in GRAPHS:
            path = folder / f"{name}.plan"
            if file_sha256(path) != record.files.get(path.name):
                raise BundleError(f"{path} does not match its sha256 in {RECORD}; build again")
        return cls(folder, record)

    def read(self, graph: str) -> mmap.mmap:
        """The plan of one graph, mapped: it may be larger than the memory that is free."""
        with (self.folder / f"{graph}.plan").open("rb") as file:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def plans_folder(bundle: Bundle, gpu: str, tensorrt: str) -> Path:
    """Where the plans for this GPU and TensorRT belong."""
    return bundle.path / FOLDER / f"{gpu}-{tensorrt}-{graphs_hash(bundle)[:12]}"


def graphs_hash(bundle: Bundle) -> str:
    """Hex sha256 over the graphs and their weights alone: a new tokenizer keeps the engine."""
    graphs = bundle.manifest.graphs
    names = {
        name
        for graph in (graphs.vision, graphs.resampler, graphs.decoder)
        for name in (graph.file, graph.data)
        if name is not None
    }
    return model_hash({name: bundle.manifest.files[name] for name in names})


def tensorrt() -> Any:
    """The module `tensorrt`; UserError where it is not installed."""
    try:
        import tensorrt as module
    except ImportError as error:
        raise UserError(
            f"tensorrt cannot be imported ({error}); on a Jetson JetPack brings it, so make the "
            "environment with: python3 -m venv --system-site-packages; elsewhere run: "
            "pip install 'otter-edge[tensorrt]'"
        ) from error
    return module
