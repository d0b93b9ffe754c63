"""How long work tells what it is doing; who shows it, it does not know."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Told what is being done, and how much of it."""

    def __call__(self, what: str, done: int, total: int) -> None: ...


def silent(what: str, done: int, total: int) -> None:
    """Progress that nobody watches."""
