"""The ROS 2 types that are used, for Cyclone DDS: the same names, fields and bytes as rmw's.

ROS calls std_msgs/msg/String `std_msgs::msg::dds_::String_` on DDS, and its types are final, in the
first version of CDR. The tests decode these bytes with the definitions that ROS itself publishes.

No `from __future__ import annotations` here: cyclonedds reads the annotations as types.
"""

from dataclasses import dataclass, fields
from typing import Any

from cyclonedds.idl import IdlStruct
from cyclonedds.idl.annotations import autoid, final
from cyclonedds.idl.types import byte, int32, sequence, uint8, uint32

from otter_robots.adapters.ros2.node import BOOL, DIAGNOSTICS, IMAGE, STRING, Fields


@dataclass
@final
@autoid("sequential")
class String(IdlStruct, typename="std_msgs::msg::dds_::String_"):
    data: str


@dataclass
@final
@autoid("sequential")
class Bool(IdlStruct, typename="std_msgs::msg::dds_::Bool_"):
    data: bool


@dataclass
@final
@autoid("sequential")
class Time(IdlStruct, typename="builtin_interfaces::msg::dds_::Time_"):
    sec: int32
    nanosec: uint32


@dataclass
@final
@autoid("sequential")
class Header(IdlStruct, typename="std_msgs::msg::dds_::Header_"):
    stamp: Time
    frame_id: str


@dataclass
@final
@autoid("sequential")
class CompressedImage(IdlStruct, typename="sensor_msgs::msg::dds_::CompressedImage_"):
    header: Header
    format: str
    data: sequence[uint8]  # type: ignore[type-arg]


@dataclass
@final
@autoid("sequential")
class KeyValue(IdlStruct, typename="diagnostic_msgs::msg::dds_::KeyValue_"):
    key: str
    value: str


@dataclass
@final
@autoid("sequential")
class DiagnosticStatus(IdlStruct, typename="diagnostic_msgs::msg::dds_::DiagnosticStatus_"):
    level: byte
    name: str
    message: str
    hardware_id: str
    values: sequence[KeyValue]  # type: ignore[type-arg]


@dataclass
@final
@autoid("sequential")
class DiagnosticArray(IdlStruct, typename="diagnostic_msgs::msg::dds_::DiagnosticArray_"):
    header: Header
    status: sequence[DiagnosticStatus]  # type: ignore[type-arg]


KINDS: dict[str, type[Any]] = {
    STRING: String,
    BOOL: Bool,
    DIAGNOSTICS: DiagnosticArray,
    IMAGE: CompressedImage,
}


def build(kind: type[Any], values: Fields) -> Any:
    """The object of nested mappings; a missing field is a KeyError, as it is a mistake of ours."""
    return kind(**{field.name: _value(field.type, values[field.name]) for field in fields(kind)})


def _value(annotation: Any, value: Any) -> Any:
    if isinstance(annotation, type) and issubclass(annotation, IdlStruct):
        return build(annotation, value)
    element = getattr(next(iter(getattr(annotation, "__metadata__", ())), None), "subtype", None)
    if element is not None and isinstance(value, list):
        return [_value(element, one) for one in value]
    return value
