"""A rosbag2 recording of what is published, for a robot or a desk without ROS.

It needs the package rosbags, which brings ROS's own message definitions. A recording that is not
closed has no metadata.yaml; `ros2 bag reindex` writes one.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from rosbags.interfaces import Nodetype
from rosbags.rosbag2 import Writer, WriterError
from rosbags.typesys import Stores, get_typestore

from otter_robots.adapters.ros2.node import Fields
from otter_robots.errors import UserError

# The older of the two layouts that rosbags writes; every distribution since Humble reads it.
VERSION: Literal[8] = 8


class BagNode:
    """Writes to a new folder; raises UserError where there is one already."""

    def __init__(self, folder: Path) -> None:
        self._types = get_typestore(Stores.ROS2_HUMBLE)
        self._connections: dict[str, tuple[str, Any]] = {}
        try:
            self._writer = Writer(folder, version=VERSION)
            self._writer.open()
        except (OSError, WriterError) as error:
            raise UserError(
                f"{folder} cannot be recorded to ({error}); name a new folder"
            ) from error

    def announce(self, topic: str, kind: str) -> None:
        made = self._writer.add_connection(topic, kind, typestore=self._types)
        self._connections[topic] = kind, made

    def publish(self, topic: str, fields: Fields) -> None:
        self.record(topic, fields, time.time_ns())

    def record(self, topic: str, fields: Fields, at_ns: int) -> None:
        """Publish as at `at_ns` since 1970."""
        kind, connection = self._connections[topic]
        data = self._types.serialize_cdr(self._build(kind, fields), kind)
        self._writer.write(connection, at_ns, data)

    def note(self, name: str, text: str) -> None:
        """Say something of the whole recording, in its metadata."""
        self._writer.set_custom_data(name, text)

    def subscribe(self, topic: str, kind: str, hear: Callable[[Any], None]) -> None:
        """A recording hears nothing."""

    def turn(self) -> None:
        """A recording hears nothing."""

    def close(self) -> None:
        self._writer.close()

    def _build(self, kind: str, values: Fields) -> Any:
        _, definitions = self._types.fielddefs[kind]
        return self._types.types[kind](
            **{name: self._value(shape, values[name]) for name, shape in definitions}
        )

    def _value(self, shape: Any, value: Any) -> Any:
        sort, detail = shape
        if sort == Nodetype.NAME:
            return self._build(detail, value)
        if sort == Nodetype.SEQUENCE and isinstance(value, list):
            return [self._value(detail[0], one) for one in value]
        return value
