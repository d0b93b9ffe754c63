"""Golden byte vectors: messages as they were packed once, which every later version must read.

    python -m otter_robots.vectors tests/robots/vectors

writes those that are missing, and never touches one that is there. Beside each `.bin`, one envelope
part, stands a `.json` with what it is to be read as. Of every message there are

- `full`: every field; with another number after it once a field is added that it does not have,
- `least`: the required fields alone, as a version older than all the others would send it,
- `future`: every field and some more that nobody knows yet.

Values are made from the fields' types and bounds, so a new message needs no sample by hand.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
from msgspec import inspect as types

from otter_robots.envelope import VERSION, Envelope, unpack
from otter_robots.messages import MESSAGES, Message
from otter_robots.topics import TOPICS

# LARGE is more than a double holds: a reader that takes integers for doubles is found out.
LARGE, SMALL = (1 << 53) + 1, 3
UNKNOWN = {"unknown": {"from": ["a", "later", None, {"version": 1.5}]}}

Vector = tuple[str, bytes]  # name, what is on the wire


def main(arguments: list[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(description="Write the golden vectors that are missing.")
    parser.add_argument("folder", type=Path, metavar="DIR")
    write(parser.parse_args(arguments).folder)


def write(folder: Path) -> None:
    """Write what is missing."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in missing(folder):
        (folder / f"{name}.bin").write_bytes(data)
        (folder / f"{name}.json").write_text(json.dumps(read(data), indent=1) + "\n")
        print(f"wrote {name}")


def read(data: bytes) -> dict[str, Any]:
    """An envelope part as JSON has it: the envelope's fields, the message as its `body`."""
    envelope, message = unpack(data)
    fields = {name: getattr(envelope, name) for name in envelope.__struct_fields__}
    return fields | {"body": msgspec.to_builtins(message)}


def missing(folder: Path) -> Iterator[Vector]:
    """The vectors that a folder should have and does not."""
    for message in MESSAGES:
        name = message.__name__
        there = sorted(folder.glob(f"{name}-full*.json"))
        full = _packed(message)
        known = {field for path in there for field in _fields(json.loads(path.read_text())["body"])}
        if not known >= _fields(msgspec.msgpack.decode(full)["body"]):
            number = f"-{len(there) + 1}" if there else ""
            yield f"{name}-full{number}", full
        if not (folder / f"{name}-least.json").exists():
            yield f"{name}-least", _packed(message, optional=False)
        if not (folder / f"{name}-future.json").exists():
            yield f"{name}-future", _packed(message, more=UNKNOWN)


def _fields(value: Any, path: str = "") -> set[str]:
    """The paths of all fields, those of nested structs included."""
    if isinstance(value, dict):
        return {path} | {
            found for name, one in value.items() for found in _fields(one, f"{path}.{name}")
        }
    if isinstance(value, list):
        return {path} | {found for one in value for found in _fields(one, path)}
    return {path}


def _packed(message: type[Message], *, optional: bool = True, more: Any = None) -> bytes:
    topic = next((t.name for t in TOPICS.values() if message in t.messages), "request")
    envelope = _struct(Envelope, optional) | {
        "schema": message.__name__,
        "version": VERSION,
        "topic": topic,
        "epoch": "0000000007-0badcafe",
        "body": {"type": message.__name__} | _struct(message, optional) | (more or {}),
    }
    return msgspec.msgpack.encode(envelope | (more or {}))


def _struct(struct: type[msgspec.Struct], optional: bool) -> dict[str, Any]:
    info = types.type_info(struct)
    assert isinstance(info, types.StructType)
    chosen = [field for field in info.fields if optional or field.required]
    whole = LARGE if optional else SMALL
    return {field.encode_name: _value(field.type, field.name, whole) for field in chosen}


def _value(kind: types.Type, name: str, whole: int) -> Any:
    """Some value that a field of this type may hold, integers as near to `whole` as they may be."""
    if isinstance(kind, types.UnionType):
        return _value(next(k for k in kind.types if not isinstance(k, types.NoneType)), name, whole)
    if isinstance(kind, types.BoolType):
        return True
    if isinstance(kind, types.IntType):
        return min(max(whole, kind.ge or 0), LARGE if kind.le is None else kind.le)
    if isinstance(kind, types.FloatType):
        return min(max(0.5, kind.ge or 0.0), 1e9 if kind.le is None else kind.le)
    if isinstance(kind, types.StrType):
        text = f"{name} é 中 🦦"[: kind.max_length]
        return text if re.search(kind.pattern or "", text) else name
    if isinstance(kind, types.LiteralType):
        return max(kind.values, key=str)
    if isinstance(kind, (types.VarTupleType, types.ListType)):
        return [_value(kind.item_type, name, whole)] * 2
    if isinstance(kind, types.DictType):
        key = _value(kind.key_type, name, whole)
        return {key: _value(kind.value_type, name, whole)}
    if isinstance(kind, types.StructType):
        return _struct(kind.cls, whole == LARGE)
    if isinstance(kind, types.RawType):
        return None
    raise TypeError(f"field {name} is of {kind}; say here what a value of it looks like")


if __name__ == "__main__":
    main()
