"""Whether the runtime lives, and whether it could answer: from its own heartbeat, nothing else.

It knows what is said on the bus; it does not know how anybody asks. The front tells, any thread
reads.
"""

from __future__ import annotations

import time

from otter_robots.envelope import Envelope
from otter_robots.messages import Health, Message
from otter_robots.topics import HEALTH

assert HEALTH.rate_hz is not None
ALIVE_S = 5.0 / HEALTH.rate_hz  # heartbeats that may be missing


class Readiness:
    """`reserve_mb` is how much of the disk has to be left for it to be ready."""

    def __init__(self, reserve_mb: float) -> None:
        self._reserve_mb = reserve_mb
        self._heard: tuple[float, Health | None] = time.monotonic(), None

    def hear(self, envelope: Envelope, message: Message) -> None:
        """Something was published."""
        if isinstance(message, Health):
            self._heard = time.monotonic(), message

    def dead(self) -> list[str]:
        """Why it does not live; empty where it does."""
        silent_s = time.monotonic() - self._heard[0]
        return [f"no heartbeat for {silent_s:.0f} s"] if silent_s > ALIVE_S else []

    def unready(self) -> list[str]:
        """Why it could not answer a question now; empty where it could."""
        health = self._heard[1]
        if health is None:
            return ["it is starting"]
        return self.dead() + [
            sentence
            for wrong, sentence in (
                (not health.brain_alive, "the model is not loaded"),
                (bool(health.blind), health.blind),
                (health.frame_age_ms is None, "no frame was seen yet"),
                (not health.journal_ok, "the journal cannot be written"),
                (short(health.disk_free_mb, self._reserve_mb), "the disk is nearly full"),
            )
            if wrong
        ]


def short(free_mb: float | None, reserve_mb: float) -> bool:
    """Whether less is free than the reserve; False where nobody knows."""
    return free_mb is not None and free_mb < reserve_mb
