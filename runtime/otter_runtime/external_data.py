"""Which files an ONNX graph takes its weights from, read without the onnx package.

It walks only the messages that can hold tensors and skips the rest by length, so a graph of a
thousand nodes takes milliseconds. Field numbers are those of onnx.proto3.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from otter_runtime.errors import BundleError

# message -> {field number: what it holds}. Only paths that lead to a tensor are listed.
MESSAGES: dict[str, dict[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {13: "entry"},
    "entry": {},
}
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5


def external_files(path: Path) -> set[str]:
    """Locations of external data in the ONNX file `path`; BundleError where it is not ONNX."""
    try:
        return set(_locations(memoryview(path.read_bytes()), "model"))
    except OSError as error:
        raise BundleError(
            f"{path} cannot be read ({error.strerror}); copy the bundle again"
        ) from error
    except (ValueError, IndexError) as error:
        raise BundleError(f"{path} is not an ONNX graph ({error}); export it again") from error


def _locations(data: memoryview, message: str) -> Iterator[str]:
    if message == "entry":
        key, value = _entry(data)
        if key == "location":
            yield value
        return
    holds = MESSAGES[message]
    for field, wire, start, end in _fields(data):
        if wire == BYTES and field in holds:
            yield from _locations(data[start:end], holds[field])


def _entry(data: memoryview) -> tuple[str, str]:
    texts = {f: bytes(data[a:b]).decode() for f, wire, a, b in _fields(data) if wire == BYTES}
    return texts.get(1, ""), texts.get(2, "")


def _fields(data: memoryview) -> Iterator[tuple[int, int, int, int]]:
    """(field number, wire type, start, end) of each field of one protobuf message."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        wire = tag & 7
        size = 0
        if wire == VARINT:
            _, end = _varint(data, at)
        elif wire == BYTES:
            size, at = _varint(data, at)
            end = at + size
        elif wire in (FIXED64, FIXED32):
            end = at + (8 if wire == FIXED64 else 4)
        else:
            raise ValueError(f"wire type {wire}")
        if end > len(data):
            raise ValueError("a field runs past the end")
        yield tag >> 3, wire, at, end
        at = end


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise ValueError("a number of more than ten bytes")
