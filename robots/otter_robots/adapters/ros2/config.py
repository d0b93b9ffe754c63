"""What the ROS 2 adapter can be told; defaults here, overridden by a YAML file.

It knows names and bounds, not ROS.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

# A name as ROS has it, from the root.
Topic = Annotated[str, Meta(pattern="^(/[A-Za-z_][A-Za-z0-9_]*)+$", max_length=200)]


class Config(Struct, frozen=True, kw_only=True):
    """Everything about one node.

    `backend` is `rclpy`, `dds` (Cyclone DDS alone, no ROS installed) or `none`; `auto` takes rclpy
    where it can be imported. `domain` None is what ROS_DOMAIN_ID says. `bag` is a new folder that a
    rosbag2 recording of everything published is written to.

    Topics are below `namespace`; `diagnostics` is not. `camera` is a topic of
    sensor_msgs/CompressedImage whose frames are pushed to a runtime with the source `bus`, at most
    `camera_hz` of them a second.

    `skills` is the file that declares what the robot can do; without it nothing is published on
    `act`. Answers older than `max_age_ms` are not acted on, whatever their ttl.
    """

    backend: Literal["auto", "rclpy", "dds", "none"] = "auto"
    domain: Annotated[int, Meta(ge=0, le=232)] | None = None
    node: Annotated[str, Meta(pattern="^[A-Za-z_][A-Za-z0-9_]*$")] = "otter_edge"
    namespace: Topic = "/otter"
    diagnostics: Topic = "/diagnostics"
    camera: Topic | None = None
    camera_hz: Annotated[float, Meta(gt=0, le=1000)] = 5.0
    bag: str | None = None
    skills: str | None = None
    max_age_ms: Annotated[float, Meta(gt=0)] | None = None
    timeout_s: Annotated[float, Meta(gt=0, le=3600)] = 30.0
