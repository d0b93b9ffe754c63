"""What LeRobot imports by its name; importing it registers the robot type `otter`."""

from otter_robots.adapters.lerobot.config_otter import OtterConfig
from otter_robots.adapters.lerobot.otter import Otter

__all__ = ["Otter", "OtterConfig"]
