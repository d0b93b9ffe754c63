"""What stands beside a control loop: whether the robot may move, and where its pictures go.

A thread hears the bus, so that asking costs the loop nothing. It knows the guard and the bus, not
LeRobot; it says no by itself, whatever the policy wants.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from otter_robots.adapters.pusher import Pusher, Shot
from otter_robots.client import Client
from otter_robots.envelope import MAX_MESSAGE_BYTES
from otter_robots.guard import SILENT_S, Guard
from otter_robots.messages import Health, Picture
from otter_robots.skills import Declaration, Registry, Skills
from otter_robots.topics import COMMAND, HEALTH

PATIENCE_S = 0.1
# What is left of a message for its envelope.
PIXEL_BYTES = MAX_MESSAGE_BYTES - 4096
# All that this guard is asked for.
POLICY = Skills(skills={"policy": Declaration(say="Follow the policy.")})


class Overseer:
    """Hears the bus until `close`. With `wait_for_runtime` False a silent runtime stops nothing."""

    def __init__(
        self, connect: Callable[[], Client], *, wait_for_runtime: bool = True, rate_hz: float = 4.0
    ) -> None:
        self.guard = Guard(Registry(POLICY), silent_s=SILENT_S if wait_for_runtime else None)
        self.pusher = Pusher(connect)
        self._heard = not wait_for_runtime
        self._every_s = 1 / rate_hz
        self._push_at_s = 0.0
        self._number = 0
        self._ended = threading.Event()
        self._connect = connect
        self._thread = threading.Thread(target=self._run, name="overseer", daemon=True)
        self._thread.start()

    @property
    def why(self) -> str | None:
        """Why the robot may not move now, None where it may."""
        if not self._thread.is_alive():
            return "nobody hears the bus any more"
        return self.guard.why or (None if self._heard else "no heartbeat was heard yet")

    def show(self, frame: Any, source: str) -> None:
        """Push a frame, (height, width, 3) uint8 RGB; one that comes too soon is not looked at.

        What is too large for a message is thinned out, every second or third pixel.
        """
        now_s = time.monotonic()
        if now_s < self._push_at_s:
            return
        self._push_at_s = now_s + self._every_s
        step = 1
        while -(-frame.shape[0] // step) * -(-frame.shape[1] // step) * 3 > PIXEL_BYTES:
            step += 1
        thinned = frame[::step, ::step]
        self._number += 1
        picture = Picture(
            number=self._number,
            width=thinned.shape[1],
            height=thinned.shape[0],
            encoding="rgb8",
            taken_ns=time.monotonic_ns(),
            source=source[:64],
        )
        self.pusher.push(Shot(picture, thinned.tobytes()))

    def close(self) -> None:
        """End both threads."""
        self._ended.set()
        self.pusher.close()
        self._thread.join(timeout=5)

    def _run(self) -> None:
        with self._connect() as bus:
            bus.subscribe([COMMAND, HEALTH])
            while not self._ended.is_set():
                came = bus.receive(PATIENCE_S)
                if came is None:
                    continue
                self.guard.hear(*came)
                self._heard |= isinstance(came[1], Health) and came[0].origin == "live"
