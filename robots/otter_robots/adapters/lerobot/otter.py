"""A LeRobot robot that is another one, watched over: its frames are pushed, and it can be held.

Observations pass as they are. Actions pass while the guard allows motion; while it does not, none
is sent, and a robot under position control stays where it was last told to be.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import draccus
from lerobot.robots.config import RobotConfig
from lerobot.robots.robot import Robot
from lerobot.robots.utils import make_robot_from_config

from otter_robots import endpoints
from otter_robots.adapters.lerobot.config_otter import OtterConfig
from otter_robots.adapters.lerobot.overseer import Overseer
from otter_robots.client import Client
from otter_robots.errors import UserError


class Otter(Robot):  # type: ignore[misc]
    """See `OtterConfig`; `held` counts the actions that were not sent."""

    config_class = OtterConfig
    name = "otter"

    def __init__(self, config: OtterConfig) -> None:
        super().__init__(config)
        self.config = config
        self.held = 0
        self.inner: Robot = make_robot_from_config(_inner(config.robot))
        self._overseer: Overseer | None = None
        self._sent: dict[str, Any] = {}
        # What is recorded was done by the robot itself.
        self.robot_type = self.inner.robot_type
        known = [name for name, kind in self.observation_features.items() if type(kind) is tuple]
        if config.camera and config.camera not in known:
            raise UserError(f"{self.robot_type} has no camera {config.camera!r}; choose of {known}")

    @property
    def observation_features(self) -> dict[str, Any]:
        return dict(self.inner.observation_features)

    @property
    def action_features(self) -> dict[str, Any]:
        return dict(self.inner.action_features)

    @property
    def cameras(self) -> dict[str, Any]:
        """The robot's own; LeRobot counts them."""
        return getattr(self.inner, "cameras", {})

    @property
    def is_connected(self) -> bool:
        return self._overseer is not None and bool(self.inner.is_connected)

    @property
    def is_calibrated(self) -> bool:
        return bool(self.inner.is_calibrated)

    @property
    def why(self) -> str | None:
        """Why it is held, None where it may move."""
        return "it is not connected" if self._overseer is None else self._overseer.why

    def connect(self, calibrate: bool = True) -> None:
        """Connect the robot, then hear the bus; leaves neither connected where one fails."""
        self._client().close()  # an address that is refused is said here, not in a thread
        self.inner.connect(calibrate)
        self._overseer = Overseer(
            self._client,
            wait_for_runtime=self.config.wait_for_runtime,
            rate_hz=self.config.camera_hz,
        )

    def calibrate(self) -> None:
        self.inner.calibrate()

    def configure(self) -> None:
        self.inner.configure()

    def get_observation(self) -> dict[str, Any]:
        """The robot's observation; its camera's frame is pushed on the way."""
        seen: dict[str, Any] = self.inner.get_observation()
        if self.config.camera and self._overseer is not None:
            self._overseer.show(seen[self.config.camera], self.config.camera)
        return seen

    def send_action(self, action: dict[str, Any]) -> dict[str, Any]:
        """Send it, or send nothing while held; gives what the robot was last sent."""
        if self.why is not None:
            self.held += 1
            return dict(self._sent)
        self._sent = self.inner.send_action(action)
        return self._sent

    def disconnect(self) -> None:
        if self._overseer is not None:
            self._overseer.close()
            self._overseer = None
        self.inner.disconnect()

    def _client(self) -> Client:
        folder = Path(self.config.folder).resolve() if self.config.folder else None
        stream = self.config.stream or endpoints.stream_endpoint(folder)
        requests = self.config.requests or endpoints.requests_endpoint(folder)
        return Client(stream, requests, "lerobot", self.config.key)


def _inner(values: dict[str, Any]) -> RobotConfig:
    try:
        return draccus.decode(RobotConfig, values)
    except (draccus.utils.DraccusException, TypeError, ValueError) as error:
        said = " ".join(str(error).split())
        raise UserError(
            f"robot is {values}, which is no robot of LeRobot's ({said}); "
            "write {type: so101_follower, port: ...}"
        ) from error
