"""A LeRobot robot of one joint and one camera, on a bench: it moves where it is told, at once."""

# No `from __future__ import annotations`: draccus reads the annotations as types.
from dataclasses import dataclass
from typing import Any

import numpy as np
from lerobot.robots.config import RobotConfig
from lerobot.robots.robot import Robot


@RobotConfig.register_subclass("bench")
@dataclass(kw_only=True)
class BenchConfig(RobotConfig):  # type: ignore[misc]
    height: int = 48


class Bench(Robot):  # type: ignore[misc]
    config_class = BenchConfig
    name = "bench"

    def __init__(self, config: BenchConfig) -> None:
        super().__init__(config)
        self.config = config
        self.moves: list[dict[str, Any]] = []
        self._connected = False

    @property
    def observation_features(self) -> dict[str, Any]:
        return {"joint.pos": float, "front": (self.config.height, 64, 3)}

    @property
    def action_features(self) -> dict[str, Any]:
        return {"joint.pos": float}

    @property
    def is_connected(self) -> bool:
        return self._connected

    @property
    def is_calibrated(self) -> bool:
        return True

    def connect(self, calibrate: bool = True) -> None:
        self._connected = True

    def calibrate(self) -> None:
        return

    def configure(self) -> None:
        return

    def get_observation(self) -> dict[str, Any]:
        joint = self.moves[-1]["joint.pos"] if self.moves else 0.0
        return {"joint.pos": joint, "front": np.full((self.config.height, 64, 3), 7, np.uint8)}

    def send_action(self, action: dict[str, Any]) -> dict[str, Any]:
        self.moves.append(action)
        return action

    def disconnect(self) -> None:
        self._connected = False
