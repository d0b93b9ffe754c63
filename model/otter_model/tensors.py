"""Tensors that are not in memory: a shape now, the values when asked for, read anew each time.

Readers of files make entries; renaming, laying one set over another or merging an adapter makes
entries of entries. So a full-size model passes through without ever being whole in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Entry:
    """One tensor: what is known without reading it, and how to read it."""

    shape: tuple[int, ...]
    floating: bool
    read: Callable[[], Tensor]

    def rows(self, begin: int, end: int) -> Entry:
        """Rows `begin` to `end` as a tensor of their own."""
        shape = (end - begin, *self.shape[1:])
        return Entry(shape, self.floating, lambda: self.read()[begin:end].clone())

    def resized(self, rows: int) -> Entry:
        """With so many rows: the last are left out, or rows of zeros follow."""
        if rows <= self.shape[0]:
            return self.rows(0, rows)
        return Entry((rows, *self.shape[1:]), self.floating, lambda: _grown(self.read(), rows))


def _grown(tensor: Tensor, rows: int) -> Tensor:
    return torch.cat([tensor, tensor.new_zeros(rows - len(tensor), *tensor.shape[1:])])


Entries = dict[str, Entry]


class Tensors(Mapping[str, Tensor]):
    """Entries as tensors by name, in the stored dtype."""

    def __init__(self, entries: Mapping[str, Entry]) -> None:
        self._entries = {name: entries[name] for name in sorted(entries)}

    def __getitem__(self, name: str) -> Tensor:
        return self._entries[name].read()

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape alone, without reading the data."""
        return self._entries[name].shape

    def __contains__(self, name: object) -> bool:
        return name in self._entries  # Mapping's own would read the tensor

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)


def listed(names: set[str], most: int = 20) -> str:
    """Names for a sentence: all of them, or the first `most` and how many more there are."""
    shown = ", ".join(repr(name) for name in sorted(names)[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
