"""Which orders count: those for this run, in time, and newer than their client's last.

An order is what changes something for everybody. Its stamp names this run and this machine's
monotonic clock, so nothing has to be remembered for a replay to be refused after a restart: the
run is another one. It knows stamps and clocks, no sockets and no keys.
"""

from __future__ import annotations

from collections import OrderedDict

from otter_robots.messages import REPLAYED, STALE, Ack, Stamp

# How far a sender's idea of our clock may run ahead of it; its clock drifts between two Acks.
AHEAD_NS = 1_000_000_000
CLIENTS = 1000


class Orders:
    """One run's; `epoch` is the run."""

    def __init__(self, epoch: str) -> None:
        self.epoch = epoch
        self._last: OrderedDict[str, int] = OrderedDict()
        self._floor = -1  # of clients that were forgotten, the newest order

    def refusal(self, stamp: Stamp, now_ns: int) -> Ack | None:
        """Why this order is refused, or None, and then no copy of it is taken again."""
        if stamp.epoch != self.epoch:
            return _refused(STALE, "the order is for another run of the runtime")
        age_ms = (now_ns - stamp.seq) / 1e6
        if age_ms > stamp.ttl_ms:
            return _refused(STALE, f"the order is {age_ms:.0f} ms old, its ttl {stamp.ttl_ms:g} ms")
        if stamp.seq - now_ns > AHEAD_NS:
            return _refused(STALE, f"the order is from {-age_ms:.0f} ms ahead of the clock here")
        if stamp.seq <= self._last.get(stamp.client, self._floor):
            return _refused(REPLAYED, f"{stamp.client or 'its sender'} gave a newer order already")
        self._remember(stamp)
        return None

    def _remember(self, stamp: Stamp) -> None:
        self._last[stamp.client] = stamp.seq
        self._last.move_to_end(stamp.client)
        if len(self._last) > CLIENTS:
            _, last = self._last.popitem(last=False)
            self._floor = max(self._floor, last)


def _refused(reason: str, why: str) -> Ack:
    return Ack(ok=False, reason=reason, detail=f"{why}; stamp it anew from this reply")
