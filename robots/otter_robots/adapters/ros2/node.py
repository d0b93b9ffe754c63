"""A ROS 2 node as the adapter needs it: publish and subscribe, messages as plain mappings.

A message is a mapping of its fields, nested as its ROS type is; octets and image data are bytes or
lists of numbers. Three backends do this: rclpy, Cyclone DDS and a rosbag2 recording.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from otter_robots.adapters.ros2.config import Config
from otter_robots.errors import UserError

STRING, BOOL = "std_msgs/msg/String", "std_msgs/msg/Bool"
DIAGNOSTICS = "diagnostic_msgs/msg/DiagnosticArray"
IMAGE = "sensor_msgs/msg/CompressedImage"

Fields = Mapping[str, Any]


class Node(Protocol):
    """A node on a network, or what stands for one."""

    def announce(self, topic: str, kind: str) -> None:
        """Make a topic of the ROS type `kind` known: those who find it in time miss nothing."""

    def publish(self, topic: str, fields: Fields) -> None:
        """Publish on a topic that was announced; reliable, for those who are there."""

    def subscribe(self, topic: str, kind: str, hear: Callable[[Any], None]) -> None:
        """Have `hear` called in `turn`, with the message as an object with its fields."""

    def turn(self) -> None:
        """Give what came to those who subscribed; waits for nothing."""

    def close(self) -> None:
        """Leave the network."""


class Nodes:
    """Several as one: a network and a recording, say."""

    def __init__(self, *nodes: Node) -> None:
        self._nodes = nodes

    def announce(self, topic: str, kind: str) -> None:
        for node in self._nodes:
            node.announce(topic, kind)

    def publish(self, topic: str, fields: Fields) -> None:
        for node in self._nodes:
            node.publish(topic, fields)

    def subscribe(self, topic: str, kind: str, hear: Callable[[Any], None]) -> None:
        for node in self._nodes:
            node.subscribe(topic, kind, hear)

    def turn(self) -> None:
        for node in self._nodes:
            node.turn()

    def close(self) -> None:
        for node in self._nodes:
            node.close()


def open_node(config: Config, dry_run: bool = False) -> Node:
    """The backends that the configuration asks for; in a dry run nothing is published.

    Raises UserError where rclpy is asked for and is not there.
    """
    nodes: list[Node] = []
    backend = config.backend
    if backend == "auto":
        backend = "rclpy" if find_spec("rclpy") else "dds"
    if backend == "rclpy":
        nodes.append(_rclpy(config))
    elif backend == "dds":
        from otter_robots.adapters.ros2.dds_node import DdsNode

        nodes.append(DdsNode(config.domain))
    if config.bag is not None:
        from otter_robots.adapters.ros2.bag_node import BagNode

        nodes.append(BagNode(Path(config.bag)))
    return Silent(Nodes(*nodes)) if dry_run else Nodes(*nodes)


def _rclpy(config: Config) -> Node:
    if not find_spec("rclpy"):
        raise UserError(
            "rclpy is not installed here; source your ROS 2 (`. /opt/ros/jazzy/setup.sh`), "
            "or set backend: dds"
        )
    from otter_robots.adapters.ros2.rclpy_node import RclpyNode

    return RclpyNode(config.node, config.domain)


class Silent:
    """Hears, and publishes nothing."""

    def __init__(self, node: Node) -> None:
        self.subscribe, self.turn, self.close = node.subscribe, node.turn, node.close

    def announce(self, topic: str, kind: str) -> None:
        return

    def publish(self, topic: str, fields: Fields) -> None:
        return
