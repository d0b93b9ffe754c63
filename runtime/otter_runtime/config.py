"""What `otter-edge run` can be told: frozen structs hold the defaults, a YAML file overrides them.

It knows names and types; it does not know what the values do. A name it does not know is refused
with the nearest one it does.
"""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Annotated, Any

import msgspec

from otter_runtime.errors import UserError

# Wide, and finite: what is beyond is a slip of the finger, and no clock can count it.
Positive = Annotated[float, msgspec.Meta(ge=1e-6, le=1e9)]
Many = Annotated[int, msgspec.Meta(ge=1)]


class WindowConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Which frames count; None means what the bundle was trained with."""

    frames: Many | None = None
    rate_hz: Positive | None = None


class BusConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Where the runtime is reached. `folder` holds both sockets and the journal.

    Without it the sockets are in the per-user run folder, the journal in the state folder. What
    was published is kept for `keep_days`, and no more of it than `keep_mb`.
    """

    folder: str | None = None
    stream: str | None = None
    requests: str | None = None
    keep_days: Positive = 7.0
    keep_mb: Positive = 1000.0


class BrainConfig(msgspec.Struct, frozen=True, kw_only=True):
    """How the engines run; `hung_s` of silence end a brain, `start_s` one that does not come up."""

    threads: Many | None = None
    provider: str = "cpu"
    hung_s: Positive = 10.0
    start_s: Positive = 300.0


class RunConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Everything about one run.

    `instruction` is one text for all sources or one for each; none leaves the runtime to answer
    questions. `fast` sees every frame of a recording as quickly as it is answered, `speed` plays it
    so many times faster than real time. `wait_s` is how long to wait for a first subscriber before
    the first frame. An answer is valid until its newest frame is `ttl_ms` old; a live camera whose
    newest frame is older than `stale_ms` is not answered from. `deadline_ms` is for questions that
    bring none of their own.
    """

    source: list[str] = []
    bundle: str | None = None
    instruction: list[str] = []
    interval_s: Positive = 1.0
    fast: bool = False
    speed: Positive = 1.0
    folder_hz: Positive = 1.0
    wait_s: Annotated[float, msgspec.Meta(ge=0, le=1e9)] = 0.0
    deadline_ms: Positive = 30_000.0
    ttl_ms: Positive = 3000.0
    stale_ms: Positive = 2000.0
    window: WindowConfig = WindowConfig()
    bus: BusConfig = BusConfig()
    brain: BrainConfig = BrainConfig()


def read(path: Path | None, overrides: dict[str, Any]) -> RunConfig:
    """The defaults, overridden by the YAML file at `path` and then by `overrides` (nested alike).

    Raises UserError for a file that cannot be read, an unknown name or a value of another type.
    """
    values = {} if path is None else _yaml(path)
    _check_names(values, RunConfig, str(path), "")
    merged = _merged(values, overrides)
    for name in ("source", "instruction"):
        merged[name] = _texts(merged.get(name, []))
    try:
        return msgspec.convert(merged, RunConfig)
    except msgspec.ValidationError as error:
        where = str(path) if path else "the configuration"
        raise UserError(f"{where} cannot be used: {error}; correct that value") from error


def _texts(value: object) -> object:
    """A list of texts, where one text or a camera's number will do as well."""
    values = value if isinstance(value, list) else [value]
    return [str(one) if type(one) is int else one for one in values]


def _yaml(path: Path) -> dict[str, Any]:
    import yaml

    try:
        values = yaml.safe_load(path.read_text())
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); give a YAML file") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # also: a date that is none
        reason = " ".join(str(error).split())
        raise UserError(f"{path} is not YAML ({reason}); correct it") from error
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise UserError(f"{path} holds a {type(values).__name__}; write `name: value` lines")
    return values


def _check_names(values: dict[str, Any], kind: type[msgspec.Struct], path: str, at: str) -> None:
    fields = {field.name: field.type for field in msgspec.structs.fields(kind)}
    for name, value in values.items():
        if name not in fields:
            near = difflib.get_close_matches(str(name), fields, n=1)
            hint = f"did you mean {at}{near[0]}" if near else f"known are {', '.join(fields)}"
            raise UserError(f"{path} has no use for {at}{name}; {hint}")
        inner = fields[name]
        if isinstance(inner, type) and issubclass(inner, msgspec.Struct):
            _check_names(value if isinstance(value, dict) else {}, inner, path, f"{name}.")


def _merged(values: dict[str, Any], overrides: dict[str, Any]) -> dict[str, Any]:
    merged = dict(values)
    for name, value in overrides.items():
        inner = merged.get(name) or {}
        if isinstance(value, dict):
            # What is no mapping stays as it is, so that its type is refused by name.
            merged[name] = _merged(inner, value) if isinstance(inner, dict) else inner
        elif value is not None:
            merged[name] = value
    return merged
