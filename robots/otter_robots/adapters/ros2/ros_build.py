"""Builds the messages of rclpy from nested mappings, by what their classes say of their fields.

It knows `get_fields_and_field_types`, which every generated class has, and no ROS.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from otter_robots.adapters.ros2.node import Fields

Find = Callable[[str], Any]


def build(kind: Any, values: Fields, find: Find) -> Any:
    """A message of class `kind`; `find` gives the class of a name such as `std_msgs/msg/Header`."""
    types = kind.get_fields_and_field_types()
    message = kind()
    for name, value in values.items():
        setattr(message, name, _value(types[name], value, find))
    return message


def _value(type_: str, value: Any, find: Find) -> Any:
    if type_.startswith("sequence<"):
        element = type_.removeprefix("sequence<").partition(">")[0].partition(",")[0]
        if "/" not in element:
            return value
        return [_value(element, one, find) for one in value]
    if "/" in type_:
        package, name = type_.split("/")
        return build(find(f"{package}/msg/{name}"), value, find)
    # rclpy has an octet as one byte.
    return bytes([value]) if type_ == "octet" else value
