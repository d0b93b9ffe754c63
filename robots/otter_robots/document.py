"""The bus's documentation, derived from the code: tables for docs/bus.md and a JSON Schema.

    python -m otter_robots.document docs

rewrites docs/bus.md between its two marks, and docs/bus.schema.json. A test holds both up to date.
"""

from __future__ import annotations

import inspect
import json
import sys
from pathlib import Path

import msgspec
from msgspec import inspect as types

from otter_robots.envelope import Envelope
from otter_robots.messages import MESSAGES, Stamp
from otter_robots.skill import Choice, Offer, Parameter, Skill
from otter_robots.topics import REQUESTS, TOPICS, Topic

BEGIN = "<!-- from here: python -m otter_robots.document docs -->"
END = "<!-- to here -->"
PARTS = (Offer, Skill, Parameter, Choice)


def main(folder: Path) -> None:
    """Rewrite what is derived."""
    page = folder / "bus.md"
    page.write_text(renewed(page.read_text()))
    (folder / "bus.schema.json").write_text(schema())


def renewed(page: str) -> str:
    """The page with its derived part as the code has it now."""
    before, _, rest = page.partition(BEGIN)
    return before + BEGIN + "\n\n" + _derived() + END + rest.partition(END)[2]


def schema() -> str:
    """JSON Schema of the envelope and of every message."""
    _, components = msgspec.json.schema_components(
        (Envelope, *MESSAGES), ref_template="#/$defs/{name}"
    )
    # Python 3.13 dedents docstrings, older ones do not.
    for component in components.values():
        component["description"] = inspect.cleandoc(component["description"])
    whole = {"$schema": "https://json-schema.org/draft/2020-12/schema", "$defs": components}
    return json.dumps(whole, indent=2) + "\n"


def _derived() -> str:
    topics = "".join(_topic(topic) for topic in TOPICS.values())
    messages = "".join(_message(message) for message in MESSAGES)
    requests = "".join(f"| `{one.__name__}` | {allow} |\n" for one, allow in REQUESTS.items())
    parts = "".join(_message(part) for part in PARTS)
    return (
        "| topic | on the wire | messages | rate | journalled | |\n|---|---|---|---|---|---|\n"
        f"{topics}\n## The requests\n\n| request | needs a key that may |\n|---|---|\n{requests}\n"
        f"## The envelope\n\n{_about(Envelope)}\n\n{_fields(Envelope)}\n"
        f"## The stamp of an order\n\n{_about(Stamp)}\n\n{_fields(Stamp)}\n"
        f"## The messages\n\n{messages}"
        f"## Skills and choices\n\n{parts}"
    )


def _topic(topic: Topic) -> str:
    names = ", ".join(f"`{message.__name__}`" for message in topic.messages)
    rate = "-" if topic.rate_hz is None else f"{topic.rate_hz:g} Hz"
    journalled = "yes" if topic.journalled else "no"
    wire = topic.wire.decode()
    return f"| {topic.name} | `{wire}` | {names} | {rate} | {journalled} | {topic.about} |\n"


def _message(message: type[msgspec.Struct]) -> str:
    return f"### {message.__name__}\n\n{_about(message)}\n\n{_fields(message)}\n"


def _about(struct: type[msgspec.Struct]) -> str:
    return inspect.getdoc(struct) or ""


def _fields(struct: type[msgspec.Struct]) -> str:
    info = types.type_info(struct)
    assert isinstance(info, types.StructType)
    rows = "".join(_field(field) for field in info.fields)
    return f"| field | type | default |\n|---|---|---|\n{rows}"


def _field(field: types.Field) -> str:
    default = "required" if field.required else f"`{_default(field)}`"
    return f"| `{field.name}` | {_kind(field.type)} | {default} |\n"


def _default(field: types.Field) -> str:
    value = field.default_factory() if field.default is msgspec.NODEFAULT else field.default
    return "{}" if isinstance(value, msgspec.Struct) else json.dumps(value)


def _kind(kind: types.Type) -> str:
    if isinstance(kind, types.UnionType):
        return " or ".join(_kind(one) for one in kind.types)
    if isinstance(kind, types.LiteralType):
        return " or ".join(f"`{json.dumps(value)}`" for value in kind.values)
    if isinstance(kind, types.VarTupleType):
        return f"array of {_kind(kind.item_type)}"
    if isinstance(kind, types.StructType):
        return kind.cls.__name__
    if isinstance(kind, types.DictType):
        return f"map of {_kind(kind.key_type)} to {_kind(kind.value_type)}"
    name = type(kind).__name__.removesuffix("Type").lower()
    return {"none": "nil", "raw": "a message"}.get(name, name) + _bounds(kind)


def _bounds(kind: types.Type) -> str:
    low = getattr(kind, "ge", None)
    high = getattr(kind, "le", None)
    length = getattr(kind, "max_length", None)
    said = [f"≥ {low:,}" if low is not None else "", f"≤ {high:,}" if high is not None else ""]
    said.append(f"at most {length:,} characters" if length is not None else "")
    return "".join(f", {one}" for one in said if one)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
