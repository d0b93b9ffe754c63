"""One status as a diagnostic_msgs/DiagnosticArray, which every ROS monitor shows.

It knows the message's fields, not what is well and what is not.
"""

from __future__ import annotations

from collections.abc import Iterable

from otter_robots.adapters.ros2.node import Fields

OK, WARN, ERROR, STALE = 0, 1, 2, 3  # diagnostic_msgs/msg/DiagnosticStatus


def diagnostics(
    at_ns: int, name: str, level: int, said: str, figures: Iterable[tuple[str, object]]
) -> Fields:
    """The array with one status: how `name` is, in a sentence and in figures."""
    status = {
        "level": level,
        "name": name,
        "message": said,
        "hardware_id": "",
        "values": [{"key": key, "value": str(value)} for key, value in figures],
    }
    return {"header": header(at_ns), "status": [status]}


def header(at_ns: int, frame_id: str = "") -> Fields:
    """A std_msgs/Header at `at_ns` since 1970."""
    return {"stamp": time(at_ns), "frame_id": frame_id}


def time(at_ns: int) -> Fields:
    """A builtin_interfaces/Time of `at_ns` since 1970."""
    sec, nanosec = divmod(at_ns, 1_000_000_000)
    return {"sec": sec, "nanosec": nanosec}
