"""A vehicle for the MAVLink tests: MAVSDK's C++ server as the autopilot, system 1, component 1.

    python autopilot_process.py CONNECTION

Prints whatever it hears: every message of the companion by MAVSDK's direct plugin, joined status
texts by its telemetry plugin, and missions as its mission server has received them. It reads orders
from stdin: `{"command": 31010}` sends a command to the companion, `{"arm": true}` arms.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any

from mavsdk.component_type import ComponentType
from mavsdk.mavsdk import Configuration, Mavsdk
from mavsdk.plugins.action_server import ActionServer
from mavsdk.plugins.mavlink_direct import MavlinkDirect, MavlinkMessage
from mavsdk.plugins.mission_raw_server import MissionRawServer
from mavsdk.plugins.telemetry import Telemetry


def say(event: str, **fields: Any) -> None:
    # One write: MAVSDK logs to the same pipe from its own threads.
    os.write(1, ("\n" + json.dumps({"event": event, **fields}) + "\n").encode())


def heard(message: Any, _: object) -> None:
    fields = json.loads(message.fields_json)
    say("heard", name=message.message_name, component=message.component_id, fields=fields)


def mission(result: Any, plan: Any, _: object) -> None:
    names = ["seq", "frame", "command", "x", "y", "z", "param1", "param2", "param3", "param4"]
    items = [{name: getattr(item, name) for name in names} for item in plan.mission_items]
    say("mission", result=result.name, items=items)


def order(line: str, direct: MavlinkDirect, action: ActionServer) -> None:
    asked = json.loads(line)
    if "arm" in asked:
        action.set_armed_state(asked["arm"])
    if "command" in asked:
        zeros = {f"param{number}": 0 for number in range(1, 8)}
        fields = zeros | {"command": asked["command"], "confirmation": 0}
        to = {"target_system": 1, "target_component": asked.get("component", 191)}
        direct.send_message(
            MavlinkMessage("COMMAND_LONG", 1, 1, *to.values(), json.dumps(fields | to))
        )


def main() -> None:
    mavsdk = Mavsdk(Configuration.create_with_component_type(ComponentType.AUTOPILOT))
    connected = mavsdk.add_any_connection(sys.argv[1])
    own = mavsdk.server_component()
    missions, action = MissionRawServer(own), ActionServer(own)
    missions.subscribe_incoming_mission(mission)
    action.set_armable(True, True)
    say("ready", connected=connected.name)
    while not mavsdk.get_systems():
        time.sleep(0.02)
    companion = mavsdk.get_systems()[0]
    direct, telemetry = MavlinkDirect(companion), Telemetry(companion)
    direct.subscribe_message("", heard)
    telemetry.subscribe_status_text(lambda text, _: say("text", text=text.text))
    say("companion")
    for line in sys.stdin:
        order(line, direct, action)


if __name__ == "__main__":
    main()
