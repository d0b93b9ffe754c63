"""The MAVLink adapter against MAVSDK's C++ autopilot in another process, over real UDP."""

from __future__ import annotations

import json
import math
import random
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pymavlink")
pytest.importorskip("mavsdk")

HERE = Path(__file__).parent
MAY_BE_HEARD = {
    "HEARTBEAT",
    "STATUSTEXT",
    "MISSION_COUNT",
    "MISSION_ITEM_INT",
    "MISSION_ACK",
    "COMMAND_ACK",
}
SKILLS = {
    "skills": {
        "go_home": {"say": "Fly home.", "requires": ["link_up", "disarmed"]},
        "look": {"say": ["Look around.", "Turn around once."]},
    }
}
HOME = [
    {"command": "NAV_TAKEOFF", "altitude_m": 12.5, "params": [0, 0, 0, None]},
    {"latitude_deg": 47.3977418, "longitude_deg": -8.5455939, "altitude_m": 30.25},
    {"command": "NAV_LAND", "latitude_deg": -33.1, "longitude_deg": 151.2},
]


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


class Scene:
    """A runtime, the adapter and an autopilot that hear each other."""

    def __init__(
        self, start: Any, runtime: Any, folder: Path, listening: bool = False, **config: Any
    ) -> None:
        """With `listening` the autopilot connects to the adapter, otherwise the reverse."""
        self.port = free_port()
        self.runtime = runtime
        kinds = ("udpout", "udpin") if listening else ("udpin", "udpout")
        self.autopilot = start(
            str(HERE / "autopilot_process.py"), f"{kinds[0]}://127.0.0.1:{self.port}"
        )
        self.autopilot.wait(lambda event: event["event"] == "ready")
        address = f"{kinds[1]}:127.0.0.1:{self.port}"
        link = {"address": address, "heartbeat_s": 0.2, "lost_s": 3.0}
        speech = {"every_s": 0.0, "repeat_s": 0.001}
        path = folder / "config.json"  # JSON is YAML
        path.write_text(json.dumps({"link": link, "speech": speech} | config))
        self.adapter = start(
            *("-m", "otter_robots.adapters.mavlink", "--json"),
            *("--folder", str(folder), "--config", str(path)),
        )
        self.adapter.wait(lambda event: event == {"event": "link", "up": True})
        self.adapter.wait(lambda event: event == {"event": "runtime", "alive": True})
        self.autopilot.wait(lambda event: event["event"] == "companion")

    def answer(self, text: str, **fields: Any) -> None:
        self.runtime.tell(answer=text, **fields)

    def hears(self, text: str) -> None:
        """Wait until the pilot's end has this text, joined."""
        self.autopilot.wait(lambda event: event.get("text") == text)

    def mission(self, since: int = 0) -> list[dict[str, Any]]:
        event = self.autopilot.wait(lambda event: event["event"] == "mission", since)
        assert event["result"] == "SUCCESS"
        items: list[dict[str, Any]] = event["items"]
        return items

    def missions(self) -> int:
        return sum(event["event"] == "mission" for event in self.autopilot.events)

    def heard(self) -> set[str]:
        return {e["name"] for e in self.autopilot.events if e["event"] == "heard"}


Set = Callable[..., Scene]


@pytest.fixture
def scene(start: Any, runtime: Any, tmp_path: Path) -> Set:
    return lambda **config: Scene(start, runtime, tmp_path, **config)


@pytest.fixture
def flying(scene: Set, tmp_path: Path) -> Scene:
    """A vehicle that can go home."""
    skills = tmp_path / "skills.json"
    skills.write_text(json.dumps(SKILLS))
    return scene(skills=str(skills), missions={"go_home": HOME})


def test_the_pilot_hears_plans_abstentions_and_faults_whole(scene: Set) -> None:
    one = scene(asking={"commands": {"USER_1": "I want to land, what do I do?"}})
    texts = [
        "Turn left: the red box is on your left.",
        "x" * 50,
        "Fly to the far end of the field, then turn around and come back slowly above the trees.",
        "y" * 100,
        "1. Über den Zaun, 2. 着陆 " + "é" * 60,
    ]
    for text in texts:
        one.answer(text)
        one.hears(text)
    one.runtime.tell(abstain="stale", detail="the camera is stuck")
    one.hears("no answer: the camera is stuck")
    one.runtime.tell(fault="disk", detail="the disk is full")
    one.hears("the disk is full")
    beat = one.autopilot.wait(lambda event: event.get("name") == "HEARTBEAT")
    # An onboard controller (18) that is no autopilot (8), the onboard computer (191).
    assert (beat["fields"]["type"], beat["fields"]["autopilot"], beat["component"]) == (18, 8, 191)
    one.autopilot.wait(lambda e: e.get("name") == "HEARTBEAT" and e["fields"]["system_status"] == 4)

    one.autopilot.tell(command=31010)  # MAV_CMD_USER_1
    one.hears("I WANT TO LAND, WHAT DO I DO?")
    one.autopilot.tell(command=31011)
    one.autopilot.tell(command=400)  # arming is for an autopilot
    results = {31010: 0, 31011: 3, 400: 3}  # accepted, unsupported, unsupported
    for command, result in results.items():
        one.autopilot.wait(
            lambda e, command=command, result=result: (
                e.get("name") == "COMMAND_ACK"
                and (e["fields"]["command"], e["fields"]["result"]) == (command, result)
            )
        )
    assert one.heard() <= MAY_BE_HEARD


def test_a_declared_mission_arrives_as_it_was_declared(flying: Scene) -> None:
    flying.answer("Fly home.", origin="replay")
    flying.adapter.wait(lambda event: "recording" in str(event.get("why")))
    flying.answer("Look around.")
    flying.hears("Look around.")
    assert flying.missions() == 0
    flying.answer("Fly home.")
    items = flying.mission()
    flying.adapter.wait(lambda event: event.get("outcome") == "accepted")
    assert [item["command"] for item in items] == [22, 16, 21]
    assert [item["seq"] for item in items] == [0, 1, 2]
    assert {item["frame"] for item in items} in ({3}, {6})  # GLOBAL_RELATIVE_ALT, and its _INT
    assert [(item["x"], item["y"], item["z"]) for item in items] == [
        (0, 0, 12.5),
        (473977418, -85455939, 30.25),
        (-331000000, 1512000000, 0.0),
    ]
    assert all(math.isnan(item["param4"]) and item["param1"] == 0 for item in items)
    flying.answer("Fly home.")
    flying.answer("Turn around once.")
    flying.hears("Turn around once.")
    assert flying.missions() == 1, "what the vehicle has already is not uploaded again"
    assert flying.heard() <= MAY_BE_HEARD


def test_nothing_is_uploaded_while_stopped_armed_or_stale(flying: Scene) -> None:
    flying.autopilot.tell(command=31013)  # MAV_CMD_USER_4: stop
    flying.hears("no uploads: stopped from the ground")
    flying.answer("Fly home.")
    flying.adapter.wait(lambda event: "stopped" in str(event.get("why")))
    flying.autopilot.tell(command=31014)
    flying.hears("uploads are allowed again")
    flying.autopilot.tell(arm=True)
    flying.adapter.wait(lambda event: event == {"event": "armed", "armed": True})
    flying.answer("Fly home.")
    flying.adapter.wait(lambda event: "requires disarmed" in str(event.get("why")))
    flying.autopilot.tell(arm=False)
    flying.adapter.wait(lambda event: event == {"event": "armed", "armed": False})
    flying.answer("Fly home.", age_ms=5000.0, ttl_ms=1000.0)
    flying.adapter.wait(lambda event: "time has passed" in str(event.get("why")))
    flying.runtime.tell(silent=True)
    flying.hears("the assistant is silent")
    flying.answer("Fly home.")
    flying.adapter.wait(lambda event: "no heartbeat" in str(event.get("why")))
    assert flying.missions() == 0


def test_garbage_is_counted_and_survived(scene: Set) -> None:
    rng = random.Random(5)
    one = scene(listening=True)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        for _ in range(500):
            data = rng.randbytes(rng.randrange(1, 300))
            stranger.sendto(rng.choice([b"", b"\xfd", b"\xfe"]) + data, ("127.0.0.1", one.port))
    # The kernel drops some of such a burst.
    counted = one.adapter.wait(lambda event: event.get("garbage", 0) >= 100)
    assert counted["signature"] == 0
    one.answer("Still here.")
    one.hears("Still here.")


def test_a_lost_link_is_noticed_and_told_when_it_is_back(scene: Set) -> None:
    one = scene(asking={"every_s": 0.5, "question": "What now?"})
    one.hears("WHAT NOW?")
    one.autopilot.child.send_signal(signal.SIGSTOP)
    one.adapter.wait(lambda event: event == {"event": "link", "up": False})
    lost = len(one.adapter.events)
    one.autopilot.child.send_signal(signal.SIGCONT)
    one.adapter.wait(lambda event: event == {"event": "link", "up": True}, lost)
    one.autopilot.wait(lambda event: str(event.get("text")).startswith("link was lost for"))
