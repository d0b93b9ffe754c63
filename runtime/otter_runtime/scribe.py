"""Who hears of everything on the bus before it happens: a recording, or nobody.

It says what the bus and its outbox ask of a scribe; it does not know what one does with it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from otter_robots.envelope import Envelope
from otter_robots.messages import Message
from otter_runtime.request import Request

# What is about to be published, and whether it must not be lost.
Said = tuple[Envelope, Message, bool]


class Scribe(Protocol):
    """`recorded` messages it kept; `unrecorded` it left out, or could not keep."""

    @property
    def trouble(self) -> str:
        """Why it cannot keep what it hears just now; "" where it can."""

    @property
    def recorded(self) -> int:
        """How many messages it kept."""

    @property
    def unrecorded(self) -> int:
        """How many frames and messages it did not keep."""

    def publications(self, said: Sequence[Said]) -> Callable[[], None]:
        """Keep these; what it gives back waits until what must not be lost is on the disk."""

    def request(self, request: Request) -> None:
        """Keep what was asked."""


class Nobody:
    """Keeps nothing."""

    trouble = ""
    recorded = unrecorded = 0

    def publications(self, said: Sequence[Said]) -> Callable[[], None]:
        """Nothing to wait for."""
        return go_on

    def request(self, request: Request) -> None:
        """Nothing."""


def go_on() -> None:
    """There is nothing to wait for."""


NOBODY = Nobody()
