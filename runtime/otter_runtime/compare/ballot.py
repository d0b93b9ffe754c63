"""What is rated: the pairs that differ, each with its answers in an order of chance.

It knows pairs and votes; it does not know browsers. What it shows of a pair says nothing of which
run gave which answer.
"""

from __future__ import annotations

import hashlib
import random
import secrets
import threading
from collections.abc import Sequence
from typing import Annotated, Literal

import msgspec

from otter_runtime.compare.album import Album, Wanted
from otter_runtime.compare.exchange import Exchange
from otter_runtime.compare.pairing import Pair, Pairing
from otter_runtime.compare.votes import VoteFile, Won, name, voted


class Cast(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A vote as the page sends it: the first answer shown, the second, or neither (0)."""

    number: Annotated[int, msgspec.Meta(ge=0)]
    vote: Literal[0, 1, 2]


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """A pair as the page has it; `number` None where every pair is rated.

    `both` are the numbers of the pictures where both saw the same, else `frames` those of either.
    """

    number: int | None
    rated: int
    pairs: int
    question: str = ""
    answers: tuple[str | None, str | None] = (None, None)
    both: tuple[int, ...] = ()
    frames: tuple[tuple[int, ...], tuple[int, ...]] = ((), ())


def differing(pairing: Pairing) -> list[Pair]:
    """What there is to rate."""
    return [pair for pair in pairing.pairs if not pair.same]


def frames(pairs: Sequence[Pair]) -> Wanted:
    """All that a and b saw of these pairs."""
    return (
        {frame for pair in pairs for frame in pair.a.frames},
        {frame for pair in pairs for frame in pair.b.frames},
    )


class Ballots:
    """All pairs that differ, and their votes. Its methods may be called by several threads."""

    def __init__(
        self,
        pairing: Pairing,
        albums: tuple[Album, Album],
        votes: VoteFile,
        secret: bytes | None = None,
    ) -> None:
        """`albums` are the pictures that a and b saw; `secret` decides the order of answers."""
        self.pairs = differing(pairing)
        self._pairing, self._votes = pairing, votes
        self._secret = secret or secrets.token_bytes(16)
        self._shared = albums[0] is albums[1]
        self._numbers, self._pictures = _mixed(albums, self._secret)
        self._lock = threading.Lock()

    @property
    def rated(self) -> int:
        """How many pairs have a vote."""
        return sum(self._vote(pair) is not None for pair in self.pairs)

    def shown(self, number: int) -> Shown | None:
        """The pair with this number; None where there is none."""
        with self._lock:
            return self._shown(number) if 0 <= number < len(self.pairs) else None

    def next(self) -> Shown:
        """The first pair that has no vote."""
        with self._lock:
            return self._next(0)

    def cast(self, cast: Cast) -> Shown | None:
        """Count a vote; what comes next, None where there is no such pair. Raises OSError."""
        with self._lock:
            if cast.number >= len(self.pairs):
                return None
            pair = self.pairs[cast.number]
            self._votes.add(voted(self._pairing, pair, self._won(pair, cast.vote)))
            return self._next(cast.number)

    def picture(self, number: int) -> bytes | None:
        """A JPEG file; None where there is none."""
        return self._pictures[number] if 0 <= number < len(self._pictures) else None

    def _next(self, after: int) -> Shown:
        """The next pair without a vote, from `after` on and then from the beginning."""
        order = [*range(after, len(self.pairs)), *range(after)]
        open_ = (number for number in order if self._vote(self.pairs[number]) is None)
        return self._shown(next(open_, None))

    def _shown(self, number: int | None) -> Shown:
        rated, pairs = self.rated, len(self.pairs)
        if number is None:
            return Shown(number=None, rated=rated, pairs=pairs)
        pair = self.pairs[number]
        sides = [(0, pair.a), (1, pair.b)]
        first, second = sides[::-1] if self._swapped(pair) else sides
        frames = (self._frames(*first), self._frames(*second))
        same_view = self._shared and pair.a.frames == pair.b.frames
        return Shown(
            number=number,
            rated=rated,
            pairs=pairs,
            question=pair.a.question,
            answers=(first[1].answer, second[1].answer),
            both=frames[0] if same_view else (),
            frames=((), ()) if same_view else frames,
        )

    def _frames(self, side: int, one: Exchange) -> tuple[int, ...]:
        keys = [(0 if self._shared else side, frame) for frame in one.frames]
        return tuple(self._numbers[key] for key in keys if key in self._numbers)

    def _vote(self, pair: Pair) -> object:
        return self._votes.of(name(self._pairing, pair))

    def _won(self, pair: Pair, vote: int) -> Won:
        if vote == 0:
            return "same"
        return "b" if (vote == 1) is self._swapped(pair) else "a"

    def _swapped(self, pair: Pair) -> bool:
        """Chance, and the same whenever the pair is shown."""
        digest = hashlib.blake2b(name(self._pairing, pair).encode(), key=self._secret)
        return bool(digest.digest()[0] & 1)


def _mixed(
    albums: tuple[Album, Album], secret: bytes
) -> tuple[dict[tuple[int, int], int], list[bytes]]:
    """The number of each picture by album and frame, which says nothing of its album; all files."""
    sides = albums[:1] if albums[0] is albums[1] else albums
    keys = [(side, frame) for side, album in enumerate(sides) for frame in album]
    random.Random(secret).shuffle(keys)
    numbers = {key: number for number, key in enumerate(keys)}
    return numbers, [albums[side][frame].file for side, frame in keys]
