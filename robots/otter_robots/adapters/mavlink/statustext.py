"""What is said to pilots: which texts, how often, cut into the 50 bytes a STATUSTEXT holds.

It knows the message's rules (https://mavlink.io/en/messages/common.html#STATUSTEXT) and no link.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from otter_robots.adapters.mavlink.config import Speech
from otter_robots.terminal import printable

CHUNK_BYTES = 50
# Of so many kinds; nobody reads more.
MOST_WAITING = 16


class Severity(IntEnum):
    """MAV_SEVERITY, as far as we use it."""

    ERROR = 3
    WARNING = 4
    NOTICE = 5
    INFO = 6


@dataclass(frozen=True)
class Chunk:
    """One STATUSTEXT; `id` 0 means that it is the only one of its text."""

    severity: int
    text: bytes
    id: int
    seq: int


def chunks(text: str, severity: int, text_id: int) -> list[Chunk]:
    """The STATUSTEXTs of one text (UTF-8), joined again by whoever receives them.

    A text above 50 bytes has all chunks but the last full, so a last one that is full is followed
    by an empty one: a chunk of fewer than 50 bytes is what ends a text.
    """
    data = text.encode()
    if len(data) <= CHUNK_BYTES:
        return [Chunk(severity, data, 0, 0)]
    starts = range(0, len(data) + 1, CHUNK_BYTES)
    return [
        Chunk(severity, data[start : start + CHUNK_BYTES], text_id, seq)
        for seq, start in enumerate(starts)
    ]


def one_line(text: str, longest: int) -> str:
    """`text` without anything that moves a cursor, at most `longest` characters."""
    line = " ".join(printable(text).split())
    return line if len(line) <= longest else line[: longest - 3] + "..."


@dataclass(frozen=True)
class _Text:
    severity: Severity
    text: str
    until_s: float


class Speaker:
    """Texts wait here for their turn: the most severe first, and of a kind only the newest.

    `dropped` counts texts that were overtaken or ran out while they waited, `repeated` those that
    had just been said.
    """

    def __init__(self, speech: Speech) -> None:
        self.dropped = 0
        self.repeated = 0
        self._speech = speech
        self._waiting: dict[str, _Text] = {}
        self._said_at_s: dict[tuple[str, str], float] = {}
        self._free_at_s = float("-inf")
        self._ids = 0

    def say(
        self, kind: str, severity: Severity, text: str, now_s: float, until_s: float = float("inf")
    ) -> None:
        """Have `text` said when its turn comes, if that is before `until_s`."""
        line = one_line(text, self._speech.longest)
        said_at_s = self._said_at_s.get((kind, line))
        if said_at_s is not None and now_s - said_at_s < self._speech.repeat_s:
            self.repeated += 1
            return
        self.dropped += kind in self._waiting
        self._waiting[kind] = _Text(severity, line, until_s)
        if len(self._waiting) > MOST_WAITING:
            least = max(self._waiting, key=lambda kind: self._waiting[kind].severity)
            del self._waiting[least]
            self.dropped += 1

    def due(self, now_s: float) -> list[Chunk]:
        """The chunks to send now: those of one text, or none."""
        fresh = {kind: one for kind, one in self._waiting.items() if one.until_s >= now_s}
        self.dropped += len(self._waiting) - len(fresh)
        self._waiting = fresh
        if not fresh or now_s < self._free_at_s:
            return []
        kind = min(fresh, key=lambda kind: fresh[kind].severity)
        text = self._waiting.pop(kind)
        self._note(kind, text.text, now_s)
        self._ids = self._ids % 0xFFFF + 1
        return chunks(text.text, text.severity, self._ids)

    def _note(self, kind: str, text: str, now_s: float) -> None:
        self._free_at_s = now_s + self._speech.every_s
        kept = {
            key: at_s
            for key, at_s in self._said_at_s.items()
            if now_s - at_s < self._speech.repeat_s
        }
        self._said_at_s = kept | {(kind, text): now_s}
