"""JSON files as they were written: parsed with duplicate keys named, written back byte for byte.

The released files come in several hands (compact, indented, ASCII or not). A file that is read and
written again without a change should not differ from itself, so its hand is noted.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from otter_runtime.errors import UserError

_INDENT = re.compile(r"[{\[]\r?\n([ \t]+)\S")
_AFTER_KEY = re.compile(r'"\s*:( ?)')


@dataclass(frozen=True)
class Hand:
    """How a JSON text is laid out."""

    indent: int | str | None = None
    compact: bool = False
    ascii: bool = True
    end: str = ""

    @classmethod
    def of(cls, text: str) -> Hand:
        """The hand that `text` was written in, as far as `json.dumps` can write in it."""
        indented = _INDENT.search(text[:4096])
        after = _AFTER_KEY.search(text[: 1 << 20])
        blank = indented.group(1) if indented else None
        return cls(
            indent=None if blank is None else (len(blank) if set(blank) == {" "} else blank),
            compact=after is not None and not after.group(1),
            ascii=text.isascii(),
            end=text[len(text.rstrip()) :],
        )

    def write(self, value: Any) -> str:
        """`value` in this hand."""
        comma = "," if self.compact or self.indent is not None else ", "
        return (
            json.dumps(
                value,
                ensure_ascii=self.ascii,
                indent=self.indent,
                separators=(comma, ":" if self.compact else ": "),
            )
            + self.end
        )


@dataclass(frozen=True)
class JsonFile:
    """A parsed file: its value, its hand, and every key that stood twice in one object."""

    path: Path
    value: Any
    hand: Hand
    duplicates: tuple[str, ...] = ()

    @classmethod
    def read(cls, path: Path) -> JsonFile:
        """Raises UserError for a file that cannot be read or is not JSON."""
        duplicates: list[str] = []

        def object_of(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
            made: dict[str, Any] = {}
            for name, value in pairs:
                if name in made:
                    duplicates.append(name)
                made[name] = value
            return made

        try:
            text = path.read_text(encoding="utf-8")
            value = json.loads(text, object_pairs_hook=object_of)
        except OSError as error:
            raise UserError(
                f"{path} cannot be read ({error.strerror}); give a JSON file"
            ) from error
        except (ValueError, RecursionError) as error:
            raise UserError(f"{path} is not JSON ({error}); download it again") from error
        return cls(path, value, Hand.of(text), tuple(duplicates))

    def write(self, path: Path | None = None) -> None:
        """Write to `path` (where it was read); the file is whole or as it was."""
        replace_text(path or self.path, self.hand.write(self.value))


def replace_text(path: Path, text: str) -> None:
    """Write `text` to `path` through a file beside it, so that a full disk loses nothing."""
    partial = path.with_name(path.name + ".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise UserError(f"{path} cannot be written ({error.strerror})") from error
