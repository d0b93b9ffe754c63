"""A bundle: the folder with manifest, graphs, tokenizer and golden answers that a device runs.

It knows the format and refuses what does not match it; it does not know how graphs are run.
Every file is held to its sha256 before it is opened, and the manifest to its own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated, Any

import msgspec

from otter_runtime.errors import BundleError, MissingExtra
from otter_runtime.external_data import external_files

if TYPE_CHECKING:
    from tokenizers import Tokenizer

FORMAT = 1
MANIFEST = "manifest.json"
GOLDEN = "golden.npz"
SELF_HASH_UNSET = "0" * 64
READ_BYTES = 1 << 20


class VisionDims(msgspec.Struct, frozen=True, kw_only=True):
    """One picture: `image_size` pixels square, `patches` features of `dim` numbers each."""

    image_size: int
    patch_size: int
    patches: int
    dim: int


class ResamplerDims(msgspec.Struct, frozen=True, kw_only=True):
    """One medium: `latents` vectors; `max_frames` where frames are told apart by embeddings."""

    latents: int
    max_frames: int | None = None


class DecoderDims(msgspec.Struct, frozen=True, kw_only=True):
    """The language model; `gated_layers` of its `layers` look at the media."""

    layers: int
    gated_layers: int
    heads: int
    head_dim: int
    dim: int
    vocab: int
    max_positions: int
    cross_heads: int
    cross_head_dim: int


class Dims(msgspec.Struct, frozen=True, kw_only=True):
    """Sizes of the three graphs."""

    vision: VisionDims
    resampler: ResamplerDims
    decoder: DecoderDims


class PromptFormat(msgspec.Struct, frozen=True, kw_only=True):
    """How a question, and an answered example, are written for the model."""

    template: str = "<image>User: {question} GPT:<answer>"
    example: str = "<image>User: {question} GPT:<answer> {answer}<|endofchunk|>"


class Tokens(msgspec.Struct, frozen=True, kw_only=True):
    """Token ids with a meaning of their own; `bos` is put in front where the model wants it.

    `answer` is None for OpenFlamingo, which has no such token.
    """

    image: int
    answer: int | None
    endofchunk: int
    pad: int
    bos: int | None = None


class Decoding(msgspec.Struct, frozen=True, kw_only=True):
    """Greedy decoding's controls; `no_repeat_ngram` 0 turns that rule off."""

    max_new_tokens: int = 64
    no_repeat_ngram: int = 0
    bad_words: list[list[int]] = []
    stop_ids: list[int] = []


class Preprocess(msgspec.Struct, frozen=True, kw_only=True):
    """Frame to pixels: mode `crop` (the reference's) or `squash` (keeps the whole view)."""

    size: int
    mode: str = "crop"
    mean: tuple[float, float, float] = (0.48145466, 0.4578275, 0.40821073)
    std: tuple[float, float, float] = (0.26862954, 0.26130258, 0.27577711)


class WindowDefaults(msgspec.Struct, frozen=True, kw_only=True):
    """How many frames a medium has, and at which rate they are taken."""

    frames: int = 1
    rate_hz: float = 1.0


class SkillScoring(msgspec.Struct, frozen=True, kw_only=True):
    """How sure this model is among skills: their log likelihoods are divided by `temperature`.

    Fitted on held-out questions with known answers; 1 where nobody did.
    """

    temperature: Annotated[float, msgspec.Meta(gt=0)] = 1.0


class TensorSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A graph's input or output; a string in `shape` is a free dimension."""

    name: str
    dtype: str
    shape: list[int | str]


class Graph(msgspec.Struct, frozen=True, kw_only=True):
    """One ONNX file, with the file that holds its weights.

    `head` is the precision of the decoder's output projection. `tensorrt` is false where TensorRT
    has not got the graph's operators (dynamic int8). `islands` says what of an fp16 graph
    is computed in float32: `nodes` of each kind, and those that were `out_of_range`, with the
    largest magnitude that calibration saw.
    """

    file: str
    data: str | None
    precision: str
    head: str | None = None
    tensorrt: bool = True
    islands: dict[str, Any] = {}
    opset: int
    inputs: list[TensorSpec]
    outputs: list[TensorSpec]


class Graphs(msgspec.Struct, frozen=True, kw_only=True):
    """The three graphs of a bundle."""

    vision: Graph
    resampler: Graph
    decoder: Graph


GRAPHS = Graphs.__struct_fields__


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What `manifest.json` says; unknown fields of newer writers are ignored."""

    format: int
    name: str
    family: str
    dims: Dims
    capacities: list[int]
    prompt: PromptFormat
    tokens: Tokens
    decoding: Decoding
    preprocess: Preprocess
    window: WindowDefaults
    tokenizer: str | None
    graphs: Graphs
    files: dict[str, str]
    source: dict[str, Any] = {}
    calibration: dict[str, Any] = {}
    verification: dict[str, Any] = {}
    step_cost: dict[str, Any] = {}
    skills: SkillScoring = SkillScoring()
    manifest_sha256: str = SELF_HASH_UNSET


@dataclass(frozen=True)
class Bundle:
    """A bundle on disk whose files are what its manifest says."""

    path: Path
    manifest: Manifest

    @classmethod
    def load(cls, path: str | Path, verify: bool = True) -> Bundle:
        """Open the bundle in folder `path`, holding every file to its hash unless told not to.

        Raises BundleError, naming the file, where one is missing, differs from its hash, lies
        outside the folder, or is a link.
        """
        folder = Path(path)
        manifest = read_manifest(folder / MANIFEST, verify)
        for name in sorted(manifest.files):
            _inside(folder, name)
            if verify and file_sha256(folder / name) != manifest.files[name]:
                raise BundleError(
                    f"{folder / name} does not match its sha256 in {MANIFEST}; "
                    "copy the bundle again or export it again"
                )
        if manifest.tokenizer is not None:
            _check_listed(folder, manifest, manifest.tokenizer)
        for graph in (manifest.graphs.vision, manifest.graphs.resampler, manifest.graphs.decoder):
            _check_graph(folder, manifest, graph)
        return cls(folder, manifest)

    @property
    def model_hash(self) -> str:
        """Hex sha256 over the sorted file hashes: equal for equal models, wherever they lie."""
        return model_hash(self.manifest.files)

    def tokenizer(self) -> Tokenizer:
        """The bundle's tokenizer; BundleError where it has none (random weights)."""
        if self.manifest.tokenizer is None:
            raise BundleError(
                f"{self.path} has no tokenizer, so it takes token ids only; "
                "export it from a checkpoint that has a tokenizer.json"
            )
        try:
            from tokenizers import Tokenizer
        except ImportError as error:
            raise MissingExtra("tokenizers", "cpu") from error
        path = self.path / self.manifest.tokenizer
        try:
            return Tokenizer.from_file(str(path))
        except Exception as error:  # it raises nothing more special
            raise BundleError(f"{path} is not a tokenizer ({error}); export it again") from error


def read_manifest(path: Path, verify: bool = True) -> Manifest:
    """The manifest at `path`; BundleError where it is missing, damaged or of another format."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise BundleError(
            f"{path} cannot be read ({error.strerror}); give the folder that export wrote"
        ) from error
    try:
        manifest = msgspec.json.decode(raw, type=Manifest)
    except msgspec.MsgspecError as error:
        raise BundleError(f"{path} is not a bundle manifest ({error}); export it again") from error
    if manifest.format != FORMAT:
        raise BundleError(
            f"{path} has format {manifest.format}, this runtime reads {FORMAT}; "
            "export the bundle again with this version"
        )
    if verify and _self_hash(raw, manifest.manifest_sha256) != manifest.manifest_sha256:
        raise BundleError(f"{path} does not match its own sha256; copy or export the bundle again")
    return manifest


def write_manifest(path: Path, manifest: Manifest) -> Manifest:
    """Write `manifest` to `path` with its own hash in it; returns what was written."""
    unset = msgspec.structs.replace(manifest, manifest_sha256=SELF_HASH_UNSET)
    digest = hashlib.sha256(_encoded(unset)).hexdigest()
    written = msgspec.structs.replace(manifest, manifest_sha256=digest)
    path.write_bytes(_encoded(written))
    return written


def file_sha256(path: Path) -> str:
    """Hex sha256 of a file, read in pieces."""
    digest = hashlib.sha256()
    for piece in _pieces(path):
        digest.update(piece)
    return digest.hexdigest()


def model_hash(files: dict[str, str]) -> str:
    """Hex sha256 over `files` (relative path to sha256) in the order of their names."""
    lines = "".join(f"{name} {files[name]}\n" for name in sorted(files))
    return hashlib.sha256(lines.encode()).hexdigest()


def _encoded(manifest: Manifest) -> bytes:
    return msgspec.json.format(msgspec.json.encode(manifest), indent=1) + b"\n"


def _self_hash(raw: bytes, stated: str) -> str:
    # The hash is taken with its own value zeroed, over the very bytes on disk.
    unset = raw.replace(stated.encode(), SELF_HASH_UNSET.encode(), 1)
    return hashlib.sha256(unset).hexdigest()


def _pieces(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            while piece := file.read(READ_BYTES):
                yield piece
    except OSError as error:
        raise BundleError(
            f"{path} cannot be read ({error.strerror}); copy the bundle again"
        ) from error


def _inside(folder: Path, name: str) -> None:
    # A bundle may come from anywhere: nothing in it may point out of its folder.
    relative = PurePosixPath(name)
    parts = [folder.joinpath(*relative.parts[: i + 1]) for i in range(len(relative.parts))]
    if relative.is_absolute() or ".." in relative.parts or "\\" in name:
        raise BundleError(f"{name!r} in {MANIFEST} leaves the bundle {folder}; do not use it")
    if any(part.is_symlink() for part in parts):
        raise BundleError(f"{folder / name} is a link; a bundle holds plain files only")


def _check_listed(folder: Path, manifest: Manifest, name: str) -> None:
    if name not in manifest.files:
        raise BundleError(f"{name} has no sha256 in {folder / MANIFEST}; export it again")


def _check_graph(folder: Path, manifest: Manifest, graph: Graph) -> None:
    for name in (graph.file, *([graph.data] if graph.data else [])):
        _check_listed(folder, manifest, name)
    for name in external_files(folder / graph.file):
        if name != graph.data:
            raise BundleError(
                f"{folder / graph.file} wants weights from {name!r}, its manifest names "
                f"{graph.data!r}; do not use this bundle"
            )
