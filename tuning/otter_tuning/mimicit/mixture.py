"""The grouped YAML that says what a training mixes: group → dataset → files.

One group makes one batch; a group is drawn in proportion to its size. Names that are not known are
refused with the nearest one that is.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from otter_runtime.errors import UserError
from otter_tuning.mimicit.json_file import replace_text

GROUPS = ("IMAGE_TEXT", "TEXT_ONLY", "VIDEO_TEXT", "IMAGE_TEXT_IN_CONTEXT")
ALL = -1


class Source(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One dataset of a group. Paths are as written; `resolved` makes them absolute.

    `num_samples` -1 takes all. `train_config_path` is a context map: which pairs to train on, and
    with which examples. `task_description` are sentences of which one may stand before a prompt.
    `labels_path` is not of the released files: dense labels, see `training/labels.py`.
    """

    mimicit_path: str
    images_path: str = ""
    num_samples: int = ALL
    train_config_path: str = ""
    task_description: list[str] = []
    labels_path: str = ""

    def resolved(self, folder: Path) -> Source:
        """With paths that begin at `folder`, where the YAML lies."""
        paths = ("mimicit_path", "images_path", "train_config_path", "labels_path")
        given = {name: getattr(self, name) for name in paths}
        made = {name: str(folder / path) if path else "" for name, path in given.items()}
        return msgspec.structs.replace(self, **made)


Mixture = dict[str, dict[str, Source]]


def read_mixture(path: Path) -> Mixture:
    """The mixture at `path`; UserError where a name is unknown or a value of another type."""
    import yaml

    try:
        value = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); give a YAML file") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UserError(f"{path} is not YAML ({' '.join(str(error).split())})") from error
    if not isinstance(value, dict):
        raise UserError(f"{path} should map groups ({', '.join(GROUPS)}) to datasets")
    return {
        _known(path, str(group), GROUPS): {
            str(name): _source(path, str(name), raw) for name, raw in _mapping(path, group, sets)
        }
        for group, sets in value.items()
    }


def write_mixture(path: Path, mixture: Mixture) -> None:
    """Write it; what is as by default is left out."""
    import yaml

    plain = {
        group: {name: _plain(source) for name, source in sets.items()}
        for group, sets in mixture.items()
    }
    text = yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, width=10_000)
    replace_text(path, text)


def _plain(source: Source) -> dict[str, Any]:
    given = msgspec.to_builtins(source)
    defaults = msgspec.to_builtins(Source(mimicit_path=""))
    return {
        name: value
        for name, value in given.items()
        if name == "mimicit_path" or value != defaults[name]
    }


def _mapping(path: Path, group: object, sets: object) -> list[tuple[object, object]]:
    if not isinstance(sets, Mapping):
        raise UserError(f"{path}: {group} should map datasets to their files")
    return list(sets.items())


def _source(path: Path, name: str, raw: object) -> Source:
    if isinstance(raw, Mapping):
        for key in raw:
            _known(path, str(key), Source.__struct_fields__, f"{name}.")
    try:
        return msgspec.convert(raw, Source)
    except msgspec.ValidationError as error:
        raise UserError(f"{path}: {name} cannot be used: {error}; correct that value") from error


def _known(path: Path, name: str, names: tuple[str, ...], at: str = "") -> str:
    if name in names:
        return name
    near = difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean {near[0]}" if near else f"known are {', '.join(names)}"
    raise UserError(f"{path} has no use for {at}{name}; {hint}")
