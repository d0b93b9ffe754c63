"""Which mission the vehicle has from us, and when it may get another.

It knows the declared missions and the vehicle's state, not why a skill was chosen: the guard does.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from otter_robots.adapters.entry import Events
from otter_robots.adapters.mavlink.config import Config
from otter_robots.adapters.mavlink.mission import Upload
from otter_robots.adapters.mavlink.vehicle import Vehicle


class Uploads:
    """One upload at a time; a mission that the vehicle has already is not sent again."""

    def __init__(self, config: Config, vehicle: Vehicle, events: Events) -> None:
        self._config, self._vehicle, self._events = config, vehicle, events
        self._upload: Upload | None = None
        self._skill: str | None = None  # whose mission is under way, or was accepted

    def conditions(self) -> dict[str, Callable[[], bool]]:
        """What a skill may require of the vehicle."""
        return {
            "link_up": lambda: self._vehicle.up(time.monotonic()),
            "disarmed": lambda: not self._vehicle.armed,
        }

    def start(self, skill: str) -> None:
        """Upload this skill's mission, or say why not."""
        if skill == self._skill:
            return
        why = self._why_not()
        if why:
            self._events("refused", skill=skill, why=why)
            return
        self.cancel(f"{skill} came instead")
        link = self._config.link
        to = (link.autopilot_system, link.autopilot_component)
        self._upload, self._skill = Upload(self._config.missions[skill], *to), skill

    def cancel(self, why: str) -> None:
        """End an upload that is under way."""
        if self._upload is not None:
            self._send(self._upload.cancel(why))
            self._report()

    def forget(self) -> None:
        """The vehicle may have started anew: what it has is not known any more."""
        if self._upload is None:
            self._skill = None

    def hear(self, message: Any) -> None:
        """A message from the autopilot, which may be about a mission."""
        if self._upload is None or not message.get_type().startswith("MISSION_"):
            return
        if hasattr(message, "target_system") and self._vehicle.to_us(message):
            self._send(self._upload.hear(message, time.monotonic()))
            self._report()

    def turn(self) -> None:
        """Send again what was not answered in time."""
        if self._upload is None:
            return
        if self._vehicle.armed and not self._config.upload_while_armed:
            self.cancel("the vehicle was armed meanwhile")
            return
        self._send(self._upload.due(time.monotonic()))
        self._report()

    def _why_not(self) -> str:
        if not self._vehicle.up(time.monotonic()):
            return "no heartbeat from the autopilot"
        if self._vehicle.armed and not self._config.upload_while_armed:
            return "the vehicle is armed; its mission is left alone"
        return ""

    def _report(self) -> None:
        upload = self._upload
        if upload is None or upload.outcome is None:
            return
        self._events("mission", skill=self._skill, outcome=upload.outcome)
        self._upload = None
        if upload.outcome != "accepted":
            self._skill = None

    def _send(self, messages: list[Any]) -> None:
        for message in messages:
            self._vehicle.send(message)
