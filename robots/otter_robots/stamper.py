"""Stamps for orders: whose, for which run of the runtime, and when by the runtime's own clock.

Machines disagree about the time, and a runtime cannot tell how long an order lay in a queue. So
the sender tells the age in the runtime's clock, which it knows from the last Ack: the runtime read
its clock at some moment before the Ack was here, so the sender's idea of it is late by no more
than the Ack's way, and an order expires early rather than late. Whoever has not heard the runtime
yet sends a stamp without an epoch, is refused as stale, and knows the clock from the refusal.

It knows no socket; the client and its asyncio twin share it.
"""

from __future__ import annotations

from otter_robots.envelope import Envelope
from otter_robots.messages import Stamp


class Stamper:
    """One client's stamps."""

    def __init__(self, client: str) -> None:
        self.client = client
        self._epoch = ""
        self._ahead_ns = 0  # the runtime's clock less ours
        self._last_ns = 0

    def hear(self, ack: Envelope, now_ns: int) -> None:
        """An Ack came at `now_ns` of our monotonic clock."""
        if ack.epoch != self._epoch:
            self._epoch, self._last_ns = ack.epoch, 0
        self._ahead_ns = ack.mono_ns - now_ns

    def stamp(self, ttl_ms: float, now_ns: int) -> Stamp:
        """A stamp for an order given at `now_ns` of our monotonic clock."""
        self._last_ns = max(self._last_ns + 1, now_ns + self._ahead_ns)
        return Stamp(client=self.client, epoch=self._epoch, seq=self._last_ns, ttl_ms=ttl_ms)
