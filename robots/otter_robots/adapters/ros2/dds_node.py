"""A node without ROS: Cyclone DDS with the names, types and quality of service that rmw uses.

The topic /otter/plan is `rt/otter/plan` on DDS. ROS tools see the topics, and no node of a name:
the graph's own topic (ros_discovery_info) is not published.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cyclonedds.core import Policy, Qos
from cyclonedds.domain import DomainParticipant
from cyclonedds.pub import DataWriter
from cyclonedds.sub import DataReader
from cyclonedds.topic import Topic
from cyclonedds.util import duration

from otter_robots.adapters.ros2.dds_types import KINDS, build
from otter_robots.adapters.ros2.node import IMAGE, Fields

# What `ros2 topic pub` and `create_publisher(..., 10)` have. Only the first version of CDR is
# spoken by every rmw.
DEPTH = 10
RELIABLE = Qos(
    Policy.Reliability.Reliable(duration(seconds=1)),
    Policy.History.KeepLast(DEPTH),
    Policy.DataRepresentation(use_cdrv0_representation=True),
)
# A camera's publisher may be either; a reader that asks for less hears both. One frame is enough.
SENSOR = Qos(
    Policy.Reliability.BestEffort,
    Policy.History.KeepLast(1),
    Policy.DataRepresentation(use_cdrv0_representation=True),
)


class DdsNode:
    """One participant of a domain; None is what ROS_DOMAIN_ID says, or 0."""

    def __init__(self, domain: int | None) -> None:
        self._participant = DomainParticipant(ros_domain() if domain is None else domain)
        self._writers: dict[str, tuple[type[Any], Any]] = {}
        self._readers: list[tuple[Any, Callable[[Any], None]]] = []

    def announce(self, topic: str, kind: str) -> None:
        made = Topic(self._participant, f"rt{topic}", KINDS[kind], qos=RELIABLE)
        self._writers[topic] = KINDS[kind], DataWriter(self._participant, made, qos=RELIABLE)

    def publish(self, topic: str, fields: Fields) -> None:
        type_, writer = self._writers[topic]
        writer.write(build(type_, fields))

    def subscribe(self, topic: str, kind: str, hear: Callable[[Any], None]) -> None:
        qos = SENSOR if kind == IMAGE else RELIABLE
        made = Topic(self._participant, f"rt{topic}", KINDS[kind], qos=qos)
        self._readers.append((DataReader(self._participant, made, qos=qos), hear))

    def turn(self) -> None:
        for reader, hear in self._readers:
            for sample in reader.take(N=DEPTH):
                # Also comes: that a writer has left, which is no message.
                if sample.sample_info.valid_data:
                    hear(sample)

    def close(self) -> None:
        self._readers.clear()
        self._writers.clear()


def ros_domain() -> int:
    """The number of ROS_DOMAIN_ID; raises UserError where it is none."""
    import os

    from otter_robots.errors import UserError

    word = os.environ.get("ROS_DOMAIN_ID") or "0"
    if not word.isdecimal() or int(word) > 232:
        raise UserError(f"ROS_DOMAIN_ID is {word!r}; set a number from 0 to 232")
    return int(word)
