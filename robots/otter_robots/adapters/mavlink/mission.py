"""Uploading a mission: the vehicle asks for item after item until it has all of them.

A state machine without a link or a clock (https://mavlink.io/en/services/mission.html): whoever
has them sends what `due` and `hear` give. It uploads; it never starts, arms or sets a mode.
"""

from __future__ import annotations

import math
from typing import Any

from pymavlink.dialects.v20 import common

from otter_robots.adapters.mavlink.config import Item

# The protocol's recommended defaults.
TIMEOUT_S, RETRIES = 1.5, 5


def encode(item: Item, seq: int, system: int, component: int) -> Any:
    """The MISSION_ITEM_INT of one item; degrees become 1e-7 degrees, null becomes NaN."""
    return common.MAVLink_mission_item_int_message(
        system,
        component,
        seq,
        getattr(common, f"MAV_FRAME_{item.frame}"),
        getattr(common, f"MAV_CMD_{item.command}"),
        int(seq == 0),
        1,
        *(math.nan if value is None else value for value in item.params),
        round(item.latitude_deg * 1e7),
        round(item.longitude_deg * 1e7),
        item.altitude_m,
    )


class Upload:
    """One mission on its way to the component (`system`, `component`).

    `outcome` is None while it is under way, then "accepted" or why it failed.
    """

    def __init__(self, items: tuple[Item, ...], system: int, component: int) -> None:
        self.outcome: str | None = None
        self._to = (system, component)
        self._items = [encode(item, seq, *self._to) for seq, item in enumerate(items)]
        self._last = common.MAVLink_mission_count_message(*self._to, len(items), 0)
        self._asked: set[int] = set()
        self._send_at_s = 0.0
        self._tries = 0

    def due(self, now_s: float) -> list[Any]:
        """What to send (again) now; gives up after so many tries without a word."""
        if self.outcome is not None or now_s < self._send_at_s:
            return []
        if self._tries > RETRIES:
            self.outcome = f"the vehicle is silent after {len(self._asked)} items"
            return []
        self._tries += 1
        self._send_at_s = now_s + TIMEOUT_S
        return [self._last]

    def hear(self, message: Any, now_s: float) -> list[Any]:
        """What to send in reply to a mission message that the vehicle sent to us."""
        if self.outcome is not None or getattr(message, "mission_type", 0) != 0:
            return []
        kind = message.get_type()
        # MISSION_REQUEST is the old name; its answer is the same.
        if kind in ("MISSION_REQUEST_INT", "MISSION_REQUEST"):
            return self._requested(message.seq, now_s)
        if kind == "MISSION_ACK":
            self._acknowledged(message.type)
        return []

    def cancel(self, why: str) -> list[Any]:
        """End it; gives the message that tells the vehicle."""
        if self.outcome is not None:
            return []
        self.outcome = why
        return [self._ack(common.MAV_MISSION_OPERATION_CANCELLED)]

    def _requested(self, seq: int, now_s: float) -> list[Any]:
        if seq >= len(self._items):
            self.outcome = f"the vehicle asked for item {seq} of {len(self._items)}"
            return [self._ack(common.MAV_MISSION_INVALID_SEQUENCE)]
        # An item asked for again and again is no progress.
        self._tries = self._tries + 1 if seq in self._asked else 1
        if self._tries > RETRIES:
            return []
        self._asked.add(seq)
        self._last, self._send_at_s = self._items[seq], now_s + TIMEOUT_S
        return [self._last]

    def _acknowledged(self, result: int) -> None:
        if result != common.MAV_MISSION_ACCEPTED:
            name = common.enums["MAV_MISSION_RESULT"].get(result)
            self.outcome = f"refused: {name.name if name else result}"
        elif len(self._asked) == len(self._items):
            self.outcome = "accepted"
        # Accepted before it was all sent: an acknowledgement of something else.

    def _ack(self, result: int) -> Any:
        return common.MAVLink_mission_ack_message(*self._to, result)
