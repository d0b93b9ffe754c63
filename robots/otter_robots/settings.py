"""Configuration for every part: structs hold the defaults, a YAML file only overrides them.

It knows names and types; it does not know what the values do. A name it does not know is refused
with the nearest one it does. Reading a file needs PyYAML, which the parts that have files bring.
"""

from __future__ import annotations

import difflib
import re
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from otter_robots.errors import UserError

Kind = TypeVar("Kind", bound=msgspec.Struct)


def read(kind: type[Kind], path: Path | None, overrides: Mapping[str, Any] | None = None) -> Kind:
    """`kind`'s defaults, overridden by the file at `path`, then by `overrides` (nested alike).

    Raises UserError for a file that cannot be read, an unknown name or a value of another type.
    """
    return convert(kind, merged(kind, path, overrides or {}), path)


def merged(
    kind: type[msgspec.Struct], path: Path | None, overrides: Mapping[str, Any]
) -> dict[str, Any]:
    """What the file says, with `overrides` that are not None above it; names are checked."""
    values = {} if path is None else load(path)
    _check_names(values, kind, str(path), "")
    return _merged(values, overrides)


def convert(kind: type[Kind], values: Mapping[str, Any], path: Path | None) -> Kind:
    """The struct of these values; raises UserError for a value of another type."""
    try:
        return msgspec.convert(values, kind)
    except msgspec.ValidationError as error:
        where = str(path) if path else "the configuration"
        remedy = _choices(kind, str(error)) or "correct that value"
        raise UserError(f"{where} cannot be used: {error}; {remedy}") from error


def load(path: Path) -> dict[str, Any]:
    """The mapping that a YAML file holds; an empty file holds an empty one. Raises UserError."""
    try:
        values = msgspec.yaml.decode(path.read_bytes())
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); give a YAML file") from error
    except ImportError as error:
        raise UserError(f"{path} needs PyYAML; pip install 'otter-robots[yaml]'") from error
    except (ValueError, RecursionError) as error:  # also: a date that is none
        reason = " ".join(str(error).split())
        raise UserError(f"{path} is not YAML ({reason}); correct it") from error
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise UserError(f"{path} holds a {type(values).__name__}; write `name: value` lines")
    return values


def _choices(kind: Any, error: str) -> str:
    """The words that may stand where msgspec, which does not list them, found another."""
    at = re.fullmatch(r"Invalid enum value .* - at `\$\.([^`\[]*)`", error)
    for name in at.group(1).split(".") if at else ():
        kinds = [one for one in (kind, *typing.get_args(kind)) if hasattr(one, "__struct_fields__")]
        if not kinds:
            return ""
        fields = {field.encode_name: field.type for field in msgspec.structs.fields(kinds[0])}
        kind = fields.get(name)
    return f"write one of {', '.join(map(str, typing.get_args(kind)))}" if at else ""


def _check_names(values: Mapping[str, Any], kind: Any, path: str, at: str) -> None:
    fields = {field.encode_name: field.type for field in msgspec.structs.fields(kind)}
    for name, value in values.items():
        if name not in fields:
            near = difflib.get_close_matches(str(name), fields, n=1)
            hint = f"did you mean {at}{near[0]}" if near else f"known are {', '.join(fields)}"
            raise UserError(f"{path} has no use for {at}{name}; {hint}")
        for inner, part, where in _structs(fields[name], value, f"{at}{name}."):
            _check_names(part, inner, path, where)


def _structs(annotation: Any, value: Any, at: str) -> Iterator[tuple[Any, dict[str, Any], str]]:
    """The mappings in `value` that stand for a struct, through lists, mappings and unions."""
    if isinstance(annotation, type) and issubclass(annotation, msgspec.Struct):
        if isinstance(value, dict):
            yield annotation, value, at
        return
    arguments = typing.get_args(annotation)
    if isinstance(value, dict) and typing.get_origin(annotation) is dict:
        for name, part in value.items():
            yield from _structs(arguments[1], part, f"{at}{name}.")
    elif isinstance(value, dict):
        for one in arguments:
            yield from _structs(one, value, at)
    elif isinstance(value, list) and arguments:
        for index, part in enumerate(value):
            yield from _structs(arguments[0], part, f"{at}{index}.")


def _merged(values: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(values)
    for name, value in overrides.items():
        inner = merged.get(name) or {}
        if isinstance(value, Mapping):
            # What is no mapping stays as it is, so that its type is refused by name.
            merged[name] = _merged(inner, value) if isinstance(inner, dict) else inner
        elif value is not None:
            merged[name] = value
    return merged
