"""Messages as a hostile or broken peer would send them: golden ones, damaged in every way we know.

It knows bytes and MessagePack, no sockets. The same seed gives the same bytes.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

# Headers that announce up to four gigabytes: str, bin, array, map, extension.
BOMBS = (b"\xdb", b"\xc6", b"\xdd", b"\xdf", b"\xc9")
NESTS = (b"\x91", b"\x81\xa1a", b"\x81\x91", b"\xdc\x00\x01")
WRONG: tuple[Any, ...] = (
    None, True, -1, 0, 2**63 - 1, 2**63, 2**64 - 1, -(2**63), 1e308, float("nan"), float("inf"),
    "", "x" * 5000, "\0", b"bytes", [], [[[]]], {}, {"type": "Command"}, {"a": {"b": {"c": 1}}},
    "Answer", "Lost", ["x"] * 300, {str(i): i for i in range(40)},
)  # fmt: skip


class Mutator:
    """Damages one of `bases` at a time."""

    def __init__(self, seed: int, bases: Sequence[bytes]) -> None:
        self._dice = random.Random(seed)
        self._bases = list(bases)
        self._decoded: list[dict[str, Any]] = [msgspec.msgpack.decode(base) for base in bases]
        self._ways: list[Callable[[bytes], bytes]] = [
            self._flip, self._flip, self._cut, self._splice, self._bomb, self._nest, self._noise,
            self._repeat, self._retype, self._retype, self._retype, bytes,
        ]  # fmt: skip

    def next(self) -> bytes:
        """The next message; now and then it is a good one."""
        return self._dice.choice(self._ways)(self._dice.choice(self._bases))

    def parts(self) -> list[bytes]:
        """The next message in as many parts as it may have, or more."""
        count = self._dice.choice((1, 1, 1, 1, 1, 1, 2, 3, 9))
        return [self.next() if self._dice.random() < 0.9 else b"" for _ in range(count)]

    def _flip(self, data: bytes) -> bytes:
        damaged = bytearray(data)
        for _ in range(self._dice.randint(1, 8)):
            damaged[self._dice.randrange(len(damaged))] ^= 1 << self._dice.randrange(8)
        return bytes(damaged)

    def _cut(self, data: bytes) -> bytes:
        return data[: self._dice.randrange(len(data))]

    def _splice(self, data: bytes) -> bytes:
        other = self._dice.choice(self._bases)
        return data[: self._dice.randrange(len(data))] + other[self._dice.randrange(len(other)) :]

    def _bomb(self, data: bytes) -> bytes:
        at = self._dice.randrange(len(data))
        length = self._dice.choice((0xFFFFFFFF, 0x7FFFFFFF, 0x00FFFFFF, len(data)))
        return data[:at] + self._dice.choice(BOMBS) + length.to_bytes(4, "big") + data[at:]

    def _nest(self, data: bytes) -> bytes:
        at = self._dice.randrange(len(data))
        depth = self._dice.choice((10, 100, 1000, 5000))
        return data[:at] + self._dice.choice(NESTS) * depth + data[at:]

    def _noise(self, data: bytes) -> bytes:
        return self._dice.randbytes(self._dice.randrange(1, 200))

    def _repeat(self, data: bytes) -> bytes:
        begin = self._dice.randrange(len(data))
        piece = data[begin : begin + self._dice.randint(1, 20)]
        return data[:begin] + piece * self._dice.randint(2, 50) + data[begin:]

    def _retype(self, data: bytes) -> bytes:
        """Well-formed, with one field of another type, out of bounds, or gone."""
        envelope = dict(self._decoded[self._bases.index(data)])
        body = envelope["body"] = dict(envelope["body"])
        changed = body if self._dice.random() < 0.7 else envelope
        name = self._dice.choice(list(changed))
        if self._dice.random() < 0.1:
            del changed[name]
        else:
            changed[name] = self._dice.choice(WRONG)
        return msgspec.msgpack.encode(envelope)
