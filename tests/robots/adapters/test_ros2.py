"""The ROS 2 adapter over real DDS, held to ROS's own message definitions.

Without a ROS installation: the other end is Cyclone DDS under the names that ROS uses, and the
judge of the bytes is rosbags, which carries the definitions of the ROS distributions.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("cyclonedds")
pytest.importorskip("rosbags")

from rosbags.rosbag2 import Reader
from rosbags.typesys import Stores, get_typestore

from otter_robots.adapters.ros2.dds_node import DdsNode, ros_domain
from otter_robots.adapters.ros2.dds_types import KINDS, build
from otter_robots.adapters.ros2.node import BOOL, DIAGNOSTICS, IMAGE, STRING
from otter_robots.adapters.ros2.ros_build import build as ros_build
from otter_robots.errors import UserError

# No multicast: a machine without a network has none.
LOOPBACK = """<CycloneDDS><Domain><General><AllowMulticast>false</AllowMulticast></General>
<Discovery><ParticipantIndex>auto</ParticipantIndex>
<Peers><Peer address="127.0.0.1"/></Peers></Discovery></Domain></CycloneDDS>"""
HEADER = {"stamp": {"sec": 7, "nanosec": 999_999_999}, "frame_id": "camera"}
STATUS = {
    "level": 2,
    "name": "otter_edge: assistant",
    "message": "überall",
    "hardware_id": "",
    "values": [{"key": "answers", "value": "3"}, {"key": "", "value": ""}],
}
MESSAGES: dict[str, dict[str, Any]] = {
    STRING: {"data": "Turn left: the red box is on your left."},
    BOOL: {"data": True},
    DIAGNOSTICS: {"header": HEADER, "status": [STATUS, STATUS]},
    IMAGE: {"header": HEADER, "format": "jpeg", "data": list(b"\xff\xd8 picture")},
}
SKILLS = {"skills": {"left": {"say": "Turn left."}, "stop": {"say": "Stop."}}}


def plain(value: Any) -> Any:
    """A message of rosbags as nested mappings."""
    if hasattr(value, "__msgtype__"):
        names = [name for name in value.__dataclass_fields__ if not name.isupper()]
        return {n: plain(getattr(value, n)) for n in names if n != "__msgtype__"}
    if isinstance(value, np.ndarray):
        return value.tolist()
    return [plain(one) for one in value] if isinstance(value, list) else value


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("store", [Stores.ROS2_HUMBLE, Stores.ROS2_JAZZY, Stores.LATEST])
def test_our_bytes_are_those_of_ros(kind: str, store: Stores) -> None:
    fields = MESSAGES[kind]
    types = get_typestore(store)
    ours = build(KINDS[kind], fields).serialize(use_version_2=False)
    theirs = types.deserialize_cdr(ours, kind)
    assert plain(theirs) == fields
    back = KINDS[kind].deserialize(bytes(types.serialize_cdr(theirs, kind)))
    assert back == build(KINDS[kind], fields)
    package, _, name = kind.split("/")
    assert KINDS[kind].__idl_typename__ == f"{package}::msg::dds_::{name}_"


class Generated:
    """A class of the shape that ROS generates."""

    types: dict[str, str]

    @classmethod
    def get_fields_and_field_types(cls) -> dict[str, str]:
        return cls.types


class Header(Generated):
    types = {"stamp": "builtin_interfaces/Time", "frame_id": "string"}  # noqa: RUF012


class Time(Generated):
    types = {"sec": "int32", "nanosec": "uint32"}  # noqa: RUF012


class KeyValue(Generated):
    types = {"key": "string", "value": "string"}  # noqa: RUF012


class Status(Generated):
    types = {  # noqa: RUF012
        "level": "octet",
        "name": "string",
        "message": "string",
        "hardware_id": "string",
        "values": "sequence<diagnostic_msgs/KeyValue>",
    }


class Array(Generated):
    types = {  # noqa: RUF012
        "header": "std_msgs/Header",
        "status": "sequence<diagnostic_msgs/DiagnosticStatus>",
    }


def test_messages_are_built_by_their_fields_for_rclpy() -> None:
    known = {
        "std_msgs/msg/Header": Header,
        "builtin_interfaces/msg/Time": Time,
        "diagnostic_msgs/msg/KeyValue": KeyValue,
        "diagnostic_msgs/msg/DiagnosticStatus": Status,
    }
    built = ros_build(Array, MESSAGES[DIAGNOSTICS], known.__getitem__)
    assert (type(built.header), type(built.header.stamp)) == (Header, Time)
    assert built.header.stamp.nanosec == 999_999_999
    assert [type(one) for one in built.status] == [Status, Status]
    assert built.status[0].level == b"\x02"
    assert [(type(v), v.key) for v in built.status[1].values] == [
        (KeyValue, "answers"),
        (KeyValue, ""),
    ]


@pytest.mark.parametrize(("word", "domain"), [("", 0), ("42", 42), ("232", 232)])
def test_the_domain_is_what_ros_says(
    monkeypatch: pytest.MonkeyPatch, word: str, domain: int
) -> None:
    monkeypatch.setenv("ROS_DOMAIN_ID", word)
    assert ros_domain() == domain


@pytest.mark.parametrize("word", ["-1", "233", "home"])
def test_a_domain_that_is_none_is_said(monkeypatch: pytest.MonkeyPatch, word: str) -> None:
    monkeypatch.setenv("ROS_DOMAIN_ID", word)
    with pytest.raises(UserError, match="from 0 to 232"):
        ros_domain()


class Network:
    """The adapter, and somebody else on its domain who hears and publishes."""

    def __init__(self, start: Any, folder: Path, domain: int, *words: str) -> None:
        self.heard: list[tuple[str, Any]] = []
        self.node = DdsNode(domain)
        for topic, kind in [
            ("/otter/plan", STRING),
            ("/otter/answer", STRING),
            ("/otter/act", STRING),
            ("/diagnostics", DIAGNOSTICS),
        ]:
            self.node.subscribe(topic, kind, lambda m, topic=topic: self.heard.append((topic, m)))  # type: ignore[misc]
        for topic, kind in [
            ("/otter/question", STRING),
            ("/otter/stop", BOOL),
            ("/camera/compressed", IMAGE),
        ]:
            self.node.announce(topic, kind)
        self.adapter = start(
            *("-m", "otter_robots.adapters.ros2", "--json", "--folder", str(folder)),
            *("--backend", "dds", "--domain", str(domain), *words),
        )
        self.adapter.wait(lambda event: event["event"] == "started")
        # It hears the runtime once its diagnostics say so.
        self.hear(lambda topic, m: topic == "/diagnostics" and m.status[0].level == 0)

    def hear(self, wanted: Callable[[str, Any], object], meanwhile: Any = None) -> Any:
        """The first message that is wanted; `meanwhile` is done again and again."""
        until_s = time.monotonic() + 60
        while time.monotonic() < until_s:
            self.node.turn()
            for topic, message in self.heard:
                if wanted(topic, message):
                    return message
            if meanwhile is not None:
                meanwhile()
            time.sleep(0.02)
        raise AssertionError(f"not heard: {self.heard[-5:]}\n{self.adapter.told()}")

    def texts(self, name: str) -> list[str]:
        return [message.data for topic, message in self.heard if topic == f"/otter/{name}"]


Join = Callable[..., Network]


@pytest.fixture
def join(
    start: Any, runtime: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Join]:
    monkeypatch.setenv("CYCLONEDDS_URI", LOOPBACK)
    domain = 1 + os.getpid() % 100
    made: list[Network] = []

    def make(*words: str) -> Network:
        made.append(Network(start, tmp_path, domain, *words))
        return made[-1]

    yield make
    for one in made:
        one.node.close()


def test_plans_and_acts_reach_the_network_and_the_recording(
    join: Join, runtime: Any, tmp_path: Path
) -> None:
    skills, bag = tmp_path / "skills.json", tmp_path / "bag"
    skills.write_text(json.dumps(SKILLS))
    network = join("--skills", str(skills), "--bag", str(bag))
    runtime.tell(answer="Turn left.", origin="replay")
    runtime.tell(answer="Turn left.", age_ms=5000.0, ttl_ms=1000.0)
    runtime.tell(answer="Sing a song.")
    runtime.tell(answer="Turn left.")
    act = network.hear(lambda topic, _: topic == "/otter/act")
    assert json.loads(act.data) == {"skill": "left", "arguments": {}}
    # Between topics there is no order.
    network.hear(lambda *_: len(network.texts("plan")) == len(network.texts("answer")) == 2)
    assert network.texts("plan") == ["Sing a song.", "Turn left."]
    assert [json.loads(text)["origin"] for text in network.texts("answer")] == ["live", "live"]

    stop = lambda: network.node.publish("/otter/stop", {"data": True})  # noqa: E731
    network.hear(lambda topic, m: topic == "/diagnostics" and m.status[0].level == 2, stop)
    runtime.tell(answer="Stop.")
    network.hear(lambda topic, m: topic == "/otter/plan" and m.data == "Stop.")
    network.adapter.wait(lambda event: "(stopped)" in str(event.get("why")))

    ask = {"data": "Where is the cup?"}
    network.hear(
        lambda topic, m: topic == "/otter/plan" and m.data == "WHERE IS THE CUP?",
        lambda: network.node.publish("/otter/question", ask),
    )
    assert network.adapter.end() == 0
    assert len(network.texts("act")) == 1

    types = get_typestore(Stores.ROS2_HUMBLE)
    with Reader(bag) as reader:
        recorded = [
            (connection.topic, plain(types.deserialize_cdr(data, connection.msgtype)))
            for connection, _, data in reader.messages()
        ]
    assert [text["data"] for topic, text in recorded if topic == "/otter/act"] == [act.data]
    plans = [text["data"] for topic, text in recorded if topic == "/otter/plan"]
    assert plans[:3] == ["Sing a song.", "Turn left.", "Stop."]
    assert {"/diagnostics", "/otter/answer"} <= {topic for topic, _ in recorded}


def test_a_camera_on_the_network_is_pushed_and_a_silent_runtime_is_told(
    join: Join, runtime: Any
) -> None:
    network = join("--camera", "/camera/compressed")
    pixels = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    data = cv2.imencode(".jpg", pixels)[1].tobytes()

    def shoot() -> None:
        image = {"header": HEADER, "format": "jpeg", "data": list(data)}
        network.node.publish("/camera/compressed", image)

    def pushed(topic: str, message: Any) -> bool:
        values = {one.key: one.value for one in message.status[0].values} if topic else {}
        return int(values.get("frames_pushed", 0)) > 0

    network.hear(lambda topic, m: topic == "/diagnostics" and pushed(topic, m), shoot)
    seen = runtime.wait(lambda event: event.get("type") == "Picture")
    assert (seen["width"], seen["height"], seen["encoding"]) == (64, 48, "jpeg")
    assert seen["size"] == len(data)
    runtime.tell(silent=True)
    network.hear(lambda topic, m: topic == "/diagnostics" and m.status[0].level == 3)
