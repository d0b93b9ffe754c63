"""MAVLink messages to and from the vehicle: parsed, checked, counted.

It knows the messages' envelope and who the autopilot is, not what is said. What it may send is a
short list, and no setpoint, no manual control and no command is on it: whatever the code above
does, an answerer cannot steer.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pymavlink.dialects.v20 import common

from otter_robots.adapters.mavlink.config import Link, Signing
from otter_robots.adapters.mavlink.signing import Signer, read_key
from otter_robots.adapters.mavlink.transport import Transport, open_transport

MAY_SEND = frozenset(
    {
        common.MAVLINK_MSG_ID_HEARTBEAT,
        common.MAVLINK_MSG_ID_STATUSTEXT,
        common.MAVLINK_MSG_ID_MISSION_COUNT,
        common.MAVLINK_MSG_ID_MISSION_ITEM_INT,
        common.MAVLINK_MSG_ID_MISSION_ACK,
        common.MAVLINK_MSG_ID_COMMAND_ACK,
    }
)
BAD_SIGNATURE = "Invalid signature"


class Vehicle:
    """The line to one autopilot, with message signing where there is a key.

    `garbage` counts what was no message, `refused` messages that were not signed as they must be,
    `armed` is what the autopilot's last heartbeat said.
    """

    def __init__(self, config: Link, signing: Signing, *, mute: bool = False) -> None:
        """Raises UserError for an address or a key that cannot be used; `mute` sends nothing."""
        self.garbage = 0
        self.refused = 0
        self.armed = False
        self.heard_at_s: float | None = None
        self._config, self._mute = config, mute
        self._signer = _signer(config, signing)
        self._mav = self._signer or common.MAVLink(None, config.system, config.component)
        self._mav.robust_parsing = True
        self._transport: Transport = open_transport(config.address)

    def send(self, message: Any) -> None:
        """Send one message of the list; raises AssertionError for any other."""
        assert message.get_msgId() in MAY_SEND, f"{message.get_type()} is never sent"
        if self._mute:
            return
        if self._signer is not None:
            self._signer.keep_time()
        self._transport.send(message.pack(self._mav))
        self._mav.seq = (self._mav.seq + 1) % 256

    def receive(self, now_s: float) -> list[Any]:
        """The messages that came since and are accepted."""
        accepted = []
        for data, sender in self._transport.receive():
            for message in self._parse(data):
                accepted.append(message)
                if self._is_heartbeat(message):
                    self._transport.believe(sender)
                    self.heard_at_s = now_s
                    self.armed = bool(message.base_mode & common.MAV_MODE_FLAG_SAFETY_ARMED)
        return accepted

    def up(self, now_s: float) -> bool:
        """Whether the autopilot's heartbeat was heard lately."""
        return self.heard_at_s is not None and now_s - self.heard_at_s < self._config.lost_s

    def from_autopilot(self, message: Any) -> bool:
        """Whether the autopilot itself sent this."""
        source = (message.get_srcSystem(), message.get_srcComponent())
        return source == (self._config.autopilot_system, self._config.autopilot_component)

    def to_us(self, message: Any) -> bool:
        """Whether this is addressed to this very component."""
        target = (message.target_system, message.target_component)
        return bool(target == (self._config.system, self._config.component))

    def close(self) -> None:
        """Close the line and save the stamps."""
        if self._signer is not None:
            self._signer.save()
        self._transport.close()

    def _parse(self, data: bytes) -> list[Any]:
        messages = self._mav.parse_buffer(data) or []
        if self._transport.whole and self._mav.buf_len():
            # Half a message never gets its other half; the next piece begins with its own.
            self._mav.buf, self._mav.buf_index = bytearray(), 0
            self.garbage += 1
        good = [message for message in messages if message.get_msgId() >= 0]
        refused = sum(getattr(message, "reason", "") == BAD_SIGNATURE for message in messages)
        self.refused += refused
        self.garbage += len(messages) - len(good) - refused
        return good

    def _is_heartbeat(self, message: Any) -> bool:
        return message.get_type() == "HEARTBEAT" and self.from_autopilot(message)


def _signer(config: Link, signing: Signing) -> Signer | None:
    if signing.key is None:
        return None
    path = Path(signing.key)
    stamps = path.with_name(path.name + ".stamps")
    return Signer(config.system, config.component, read_key(path), signing.link, stamps)
