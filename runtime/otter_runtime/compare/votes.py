"""Which of two answers a person liked better: a file of JSON lines that only grows.

It knows votes; it does not know who is shown what. A vote is on the disk before the next question
comes, and one that was torn by a power cut is none. Of several votes on a pair the last counts.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal

import msgspec

from otter_runtime.compare.pairing import Pair, Pairing
from otter_runtime.compare.standings import Bout
from otter_runtime.errors import UserError

Won = Literal["a", "b", "same"]
WORTH: Mapping[Won, float] = {"a": 1.0, "b": 0.0, "same": 0.5}


class Vote(msgspec.Struct, frozen=True, kw_only=True):
    """One vote between what the runs `a` and `b` answered; `pair` is what it is about, see `name`.

    The question and both answers (None: it abstained) are there for whoever reads the file.
    """

    pair: str
    a: str
    b: str
    won: Won
    question: str
    answer_a: str | None
    answer_b: str | None
    wall_ns: int

    @property
    def bout(self) -> Bout:
        """As the standings count it."""
        return Bout(self.a, self.b, WORTH[self.won])


def name(pairing: Pairing, pair: Pair) -> str:
    """What a vote on this pair is filed under: the same runs, question, frames and answers."""
    a, b = pair.a, pair.b
    about = [pairing.a.name, pairing.b.name, a.question, a.answer, b.answer, a.ask, a.question_id]
    packed = msgspec.msgpack.encode([*about, a.frames, b.frames])
    return hashlib.blake2b(packed, digest_size=12).hexdigest()


class VoteFile:
    """The votes in a file; with `writing` also those to come, and nobody else's meanwhile.

    Raises UserError where it holds anything else, or cannot be written.
    """

    def __init__(self, path: Path, writing: bool = False) -> None:
        self.path = path
        self._file = _owned(path) if writing else None
        self._votes: dict[str, Vote] = {}
        whole = self._whole()
        for number, line in enumerate(whole.splitlines(), 1):
            self._keep(self._vote(number, line))
        self._bytes = len(whole)

    @property
    def votes(self) -> list[Vote]:
        """The last one on each pair."""
        return list(self._votes.values())

    def of(self, pair: str) -> Vote | None:
        """The vote on this pair."""
        return self._votes.get(pair)

    def add(self, vote: Vote) -> None:
        """Count a vote; it is on the disk once this returns. Raises OSError."""
        assert self._file is not None
        line = msgspec.json.encode(vote) + b"\n"
        os.ftruncate(self._file, self._bytes)  # what a torn write left
        if os.write(self._file, line) < len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.fsync(self._file)
        self._bytes += len(line)
        self._keep(vote)

    def close(self) -> None:
        """Let others write."""
        if self._file is not None:
            os.close(self._file)

    def _keep(self, vote: Vote) -> None:
        self._votes.pop(vote.pair, None)
        self._votes[vote.pair] = vote

    def _whole(self) -> bytes:
        """All lines that were written to their end."""
        try:
            whole, newline, _ = self.path.read_bytes().rpartition(b"\n")
        except OSError as error:
            raise UserError(
                f"{self.path} cannot be read ({error.strerror}); give a file that "
                "`otter-edge compare --rate` wrote"
            ) from error
        return whole + newline

    def _vote(self, number: int, line: bytes) -> Vote:
        try:
            return msgspec.json.decode(line, type=Vote)
        except (msgspec.MsgspecError, ValueError) as error:
            raise UserError(
                f"line {number} of {self.path} is no vote ({error}); give a file that "
                "`otter-edge compare --rate` wrote, or a new one"
            ) from error


def voted(pairing: Pairing, pair: Pair, won: Won) -> Vote:
    """A vote that is cast now."""
    return Vote(
        pair=name(pairing, pair),
        a=pairing.a.name,
        b=pairing.b.name,
        won=won,
        question=pair.a.question,
        answer_a=pair.a.answer,
        answer_b=pair.b.answer,
        wall_ns=time.time_ns(),
    )


def preferences(pairing: Pairing, votes: VoteFile) -> list[tuple[bool, bool]]:
    """Whether a, and whether b, was liked better, for each pair that was voted on."""
    found = (votes.of(name(pairing, pair)) for pair in pairing.pairs)
    return [(vote.won == "a", vote.won == "b") for vote in found if vote is not None]


def bouts(files: Iterable[VoteFile]) -> list[Bout]:
    """All votes of some files, as the standings count them."""
    return [vote.bout for file in files for vote in file.votes]


def _owned(path: Path) -> int:
    """The file's descriptor, to be appended to by this process alone."""
    try:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise UserError(f"{path} cannot be written ({error.strerror}); give another") from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(file)
        raise UserError(
            f"{path} is being written by another rating; end that one or give another file"
        ) from error
    return file
