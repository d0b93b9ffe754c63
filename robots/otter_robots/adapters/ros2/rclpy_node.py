"""A node of rclpy, where a ROS 2 installation is sourced.

rclpy is on no package index, so nothing in the project's tests runs this against it; what is tested
is the building of messages, on classes of the shape that ROS generates.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import rclpy
from rclpy.qos import qos_profile_sensor_data
from rclpy.signals import SignalHandlerOptions

from otter_robots.adapters.ros2.node import IMAGE, Fields
from otter_robots.adapters.ros2.ros_build import build

DEPTH = 10
# Callbacks per turn; there are three subscriptions.
MOST = 10


class RclpyNode:
    """One node; `domain` None is what ROS_DOMAIN_ID says."""

    def __init__(self, name: str, domain: int | None) -> None:
        # Its own handlers would end the context before ours has closed what is open.
        rclpy.init(domain_id=domain, signal_handler_options=SignalHandlerOptions.NO)
        self._node = rclpy.create_node(name)
        self._publishers: dict[str, tuple[Any, Any]] = {}

    def announce(self, topic: str, kind: str) -> None:
        class_ = message_class(kind)
        self._publishers[topic] = class_, self._node.create_publisher(class_, topic, DEPTH)

    def publish(self, topic: str, fields: Fields) -> None:
        class_, publisher = self._publishers[topic]
        publisher.publish(build(class_, fields, message_class))

    def subscribe(self, topic: str, kind: str, hear: Callable[[Any], None]) -> None:
        qos = qos_profile_sensor_data if kind == IMAGE else DEPTH
        self._node.create_subscription(message_class(kind), topic, hear, qos)

    def turn(self) -> None:
        for _ in range(MOST):
            rclpy.spin_once(self._node, timeout_sec=0)

    def close(self) -> None:
        self._node.destroy_node()
        rclpy.try_shutdown()


def message_class(kind: str) -> Any:
    """The class of `std_msgs/msg/String`."""
    package, _, name = kind.split("/")
    return getattr(importlib.import_module(f"{package}.msg"), name)
