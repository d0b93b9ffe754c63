"""A bundle is taken only if it is whole, unchanged, and stays in its folder."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec
import onnx
import pytest

from otter_runtime.bundle import MANIFEST, Bundle, file_sha256, read_manifest, write_manifest
from otter_runtime.errors import BundleError
from otter_runtime.external_data import external_files


@pytest.fixture
def copied(tiny_bundle: Callable[..., Path], tmp_path: Path) -> Path:
    """A bundle of one's own to damage."""
    return Path(shutil.copytree(tiny_bundle("mpt", "int8"), tmp_path / "bundle"))


def files() -> list[str]:
    graphs = ("vision", "resampler", "decoder")
    return [MANIFEST, "golden.npz", *(f"{g}.{end}" for g in graphs for end in ("onnx", "bin"))]


def resealed(folder: Path) -> None:
    """The manifest with the hashes of what lies there now, as a forger would write it."""
    manifest = read_manifest(folder / MANIFEST)
    hashes = {name: file_sha256(folder / name) for name in manifest.files}
    write_manifest(folder / MANIFEST, msgspec.structs.replace(manifest, files=hashes))


def test_loads_and_tells_its_hash(copied: Path) -> None:
    bundle = Bundle.load(copied)
    assert bundle.manifest.family == "mpt"
    assert set(bundle.manifest.files) == set(files()) - {MANIFEST}
    assert len(bundle.model_hash) == 64
    assert bundle.model_hash == Bundle.load(copied, verify=False).model_hash


@pytest.mark.parametrize("name", files())
@pytest.mark.parametrize("place", [0.0, 0.37, 0.99])
def test_a_flipped_byte_is_refused_naming_the_file(copied: Path, name: str, place: float) -> None:
    data = bytearray((copied / name).read_bytes())
    data[int(place * len(data))] ^= 1
    (copied / name).write_bytes(data)
    with pytest.raises(BundleError, match=name):
        Bundle.load(copied)


@pytest.mark.parametrize("name", files())
def test_a_missing_file_is_named(copied: Path, name: str) -> None:
    (copied / name).unlink()
    with pytest.raises(BundleError, match=name):
        Bundle.load(copied)


def test_swapped_graphs_are_refused(copied: Path) -> None:
    (copied / "vision.onnx").rename(copied / "aside")
    (copied / "decoder.onnx").rename(copied / "vision.onnx")
    (copied / "aside").rename(copied / "decoder.onnx")
    with pytest.raises(BundleError, match=r"decoder\.onnx"):
        Bundle.load(copied)


def test_a_link_is_refused(copied: Path, tmp_path: Path) -> None:
    (copied / "decoder.bin").rename(tmp_path / "outside.bin")
    (copied / "decoder.bin").symlink_to(tmp_path / "outside.bin")
    with pytest.raises(BundleError, match=r"decoder\.bin is a link"):
        Bundle.load(copied)


@pytest.mark.parametrize("location", ["../outside.bin", "/etc/hostname", "vision.bin"])
def test_external_data_elsewhere_is_refused_even_with_right_hashes(
    copied: Path, location: str
) -> None:
    path = copied / "decoder.onnx"
    model = onnx.load(str(path), load_external_data=False)
    outside = next(t for t in model.graph.initializer if t.external_data)
    outside.external_data[0].value = location
    path.write_bytes(model.SerializeToString())
    resealed(copied)
    with pytest.raises(BundleError, match="wants weights from"):
        Bundle.load(copied)


@pytest.mark.parametrize("name", ["../elsewhere", "/etc/hostname", "a\\b"])
def test_a_file_outside_the_folder_is_refused(copied: Path, name: str) -> None:
    manifest = read_manifest(copied / MANIFEST)
    named = msgspec.structs.replace(manifest, files={**manifest.files, name: "0" * 64})
    write_manifest(copied / MANIFEST, named)
    with pytest.raises(BundleError, match="leaves the bundle"):
        Bundle.load(copied)


def test_another_format_is_refused_with_both_numbers(copied: Path) -> None:
    manifest = msgspec.structs.replace(read_manifest(copied / MANIFEST), format=99)
    write_manifest(copied / MANIFEST, manifest)
    with pytest.raises(BundleError, match="format 99, this runtime reads 1"):
        Bundle.load(copied)


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"\x80\x04N.", b'{"format": 1}'])
def test_what_is_no_manifest_is_refused(tmp_path: Path, raw: bytes) -> None:
    (tmp_path / MANIFEST).write_bytes(raw)
    with pytest.raises(BundleError, match="not a bundle manifest"):
        Bundle.load(tmp_path)


def test_a_folder_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"manifest\.json cannot be read"):
        Bundle.load(tmp_path / "nothing")


def test_a_bundle_without_tokenizer_says_so(copied: Path) -> None:
    with pytest.raises(BundleError, match="no tokenizer"):
        Bundle.load(copied).tokenizer()


def test_a_tokenizer_that_is_none_or_has_no_hash_is_refused(copied: Path) -> None:
    manifest = read_manifest(copied / MANIFEST)
    elsewhere = msgspec.structs.replace(manifest, tokenizer="../tokenizer.json")
    write_manifest(copied / MANIFEST, elsewhere)
    with pytest.raises(BundleError, match=r"tokenizer.json has no sha256"):
        Bundle.load(copied)
    (copied / "tokenizer.json").write_text("{}")
    files = {**manifest.files, "tokenizer.json": ""}
    named = msgspec.structs.replace(manifest, tokenizer="tokenizer.json", files=files)
    write_manifest(copied / MANIFEST, named)
    resealed(copied)
    with pytest.raises(BundleError, match="is not a tokenizer"):
        Bundle.load(copied).tokenizer()


def test_external_data_is_found_in_subgraphs_too(tmp_path: Path) -> None:
    tensor = onnx.TensorProto(name="w", data_type=1, dims=[1], data_location="EXTERNAL")
    tensor.external_data.add(key="location", value="deep.bin")
    constant = onnx.helper.make_node("Constant", [], ["c"], value=tensor)
    inner = onnx.helper.make_graph([constant], "inner", [], [])
    branch = onnx.helper.make_node("If", ["x"], [], then_branch=inner, else_branch=inner)
    graph = onnx.helper.make_graph([branch], "g", [], [])
    path = tmp_path / "g.onnx"
    path.write_bytes(onnx.helper.make_model(graph).SerializeToString())
    assert external_files(path) == {"deep.bin"}


@pytest.mark.parametrize("raw", [b"\x80\x04\x95", b"\xff" * 40, b"\x3a\x7f"])
def test_what_is_no_graph_is_refused(tmp_path: Path, raw: bytes) -> None:
    (tmp_path / "g.onnx").write_bytes(raw)
    with pytest.raises(BundleError, match="not an ONNX graph"):
        external_files(tmp_path / "g.onnx")
