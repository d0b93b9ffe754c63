"""The members of a JSON object too large to hold, one after another."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

PIECE = 1 << 20
SPACE = " \t\r\n"


def members(path: Path, inside: str | None = None) -> Iterator[tuple[str, Any]]:
    """(key, value) of the object in file `path`, or of the object that is its member `inside`.

    Raises ValueError where it is not an object or ends too early.
    """
    with path.open(encoding="utf-8") as file:
        text = _Text(file)
        if inside is not None:
            for key in _keys(text):
                if key == inside:
                    break
                text.value()
            else:
                raise ValueError(f"it has no member {inside!r}")
        for key in _keys(text):
            yield key, text.value()


def _keys(text: _Text) -> Iterator[str]:
    """The keys of the object that begins here; the caller takes each value before the next."""
    text.expect("{")
    if text.peek() == "}":
        return
    while True:
        key = text.value()
        text.expect(":")
        yield key
        if text.peek() != ",":
            text.expect("}")
            return
        text.expect(",")


class _Text:
    """A file read piece by piece, of which what was taken is forgotten."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._held = ""
        self._at = 0
        self._decoder = json.JSONDecoder()

    def peek(self) -> str:
        """The next character that is no space; empty at the end."""
        while True:
            while self._at < len(self._held) and self._held[self._at] in SPACE:
                self._at += 1
            if self._at < len(self._held):
                return self._held[self._at]
            if not self._more():
                return ""

    def expect(self, character: str) -> None:
        """Take `character`."""
        if self.peek() != character:
            raise ValueError(f"expected {character!r}, got {self.peek() or 'the end'!r}")
        self._at += 1

    def value(self) -> Any:
        """Take one value. A number or word needs what follows it: it might go on."""
        self.peek()
        while True:
            try:
                value, end = self._decoder.raw_decode(self._held, self._at)
            except ValueError:
                if not self._more():
                    raise
                continue
            if end < len(self._held) or not self._more():
                self._at = end
                return value

    def _more(self) -> bool:
        # As much again as is held: a long value is tried a few times only.
        piece = self._file.read(max(PIECE, len(self._held) - self._at))
        self._held, self._at = self._held[self._at :] + piece, 0
        return bool(piece)
