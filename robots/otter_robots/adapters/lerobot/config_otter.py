"""`--robot.type=otter`: any LeRobot robot, watched over; fields as LeRobot's command line has them.

    --robot.type=otter --robot.robot="{type: so101_follower, port: /dev/ttyACM0}"

For `OtterConfig` LeRobot takes the class `Otter` of the module of this name without `config_`.
"""

# No `from __future__ import annotations`: draccus reads the annotations as types.
from dataclasses import dataclass
from typing import Any

from lerobot.robots.config import RobotConfig


@RobotConfig.register_subclass("otter")
@dataclass(kw_only=True)
class OtterConfig(RobotConfig):  # type: ignore[misc]
    """`camera` is the observation whose frames are pushed, `camera_hz` a second; none if empty.

    `robot` is the robot itself, as a mapping: draccus would list the options of a RobotConfig
    within a RobotConfig for ever.

    `folder` is the --folder of `otter-edge run --source bus`, or give `stream` and `requests`, and
    `key` for tcp. Where `wait_for_runtime`, a silent runtime holds the robot.
    """

    robot: dict[str, Any]
    camera: str = ""
    camera_hz: float = 4.0
    folder: str | None = None
    stream: str | None = None
    requests: str | None = None
    key: str | None = None
    wait_for_runtime: bool = True
