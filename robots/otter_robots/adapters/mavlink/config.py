"""What the MAVLink adapter can be told; defaults here, overridden by a YAML file.

It knows names, units and bounds, not the protocol.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

Seconds = Annotated[float, Meta(gt=0, le=86_400)]
Ident = Annotated[int, Meta(ge=1, le=255)]

# What an item of a declared mission may be: go somewhere, stay, come back, come down. No servo, no
# relay, no parameter: those do something without going anywhere.
Command = Literal[
    "NAV_WAYPOINT",
    "NAV_LOITER_UNLIM",
    "NAV_LOITER_TURNS",
    "NAV_LOITER_TIME",
    "NAV_RETURN_TO_LAUNCH",
    "NAV_LAND",
    "NAV_TAKEOFF",
    "NAV_LOITER_TO_ALT",
    "NAV_SPLINE_WAYPOINT",
    "NAV_VTOL_TAKEOFF",
    "NAV_VTOL_LAND",
    "NAV_DELAY",
]
Frame = Literal["GLOBAL", "GLOBAL_RELATIVE_ALT", "GLOBAL_TERRAIN_ALT"]
# The commands that MAVLink leaves to users: a ground station's buttons.
UserCommand = Literal["USER_1", "USER_2", "USER_3", "USER_4", "USER_5"]


class Link(Struct, frozen=True, kw_only=True):
    """Where the autopilot is, and who we are on its network.

    `address` is `udpin:HOST:PORT`, `udpout:HOST:PORT`, `tcp:HOST:PORT` or `serial:DEVICE:BAUD`.
    We are a component of the vehicle: its system id, and the onboard computer's component id.
    After `lost_s` without the autopilot's heartbeat the link counts as lost.
    """

    address: str = "udpin:127.0.0.1:14540"
    system: Ident = 1
    component: Ident = 191
    autopilot_system: Ident = 1
    autopilot_component: Ident = 1
    heartbeat_s: Seconds = 1.0
    lost_s: Seconds = 5.0


class Signing(Struct, frozen=True, kw_only=True):
    """MAVLink 2 signing; with a `key` file, what is not signed with it is refused.

    `link` tells apart several links that share a key.
    """

    key: str | None = None
    link: Annotated[int, Meta(ge=0, le=255)] = 0


class Speech(Struct, frozen=True, kw_only=True):
    """How much is said as status texts: a telemetry radio carries little.

    At most one text each `every_s`; the same one again after `repeat_s`; at most `longest`
    characters of it.
    """

    every_s: Annotated[float, Meta(ge=0, le=86_400)] = 1.0
    repeat_s: Seconds = 30.0
    longest: Annotated[int, Meta(ge=10, le=1000)] = 200


class Item(Struct, frozen=True, kw_only=True):
    """One item of a mission; `params` are the command's first four, null where it may choose."""

    command: Command = "NAV_WAYPOINT"
    frame: Frame = "GLOBAL_RELATIVE_ALT"
    latitude_deg: Annotated[float, Meta(ge=-90, le=90)] = 0.0
    longitude_deg: Annotated[float, Meta(ge=-180, le=180)] = 0.0
    altitude_m: Annotated[float, Meta(ge=-1000, le=10_000)] = 0.0
    params: tuple[float | None, float | None, float | None, float | None] = (0, 0, 0, None)


class Asking(Struct, frozen=True, kw_only=True):
    """When a question is asked: every `every_s`, or when one of the user commands comes.

    `commands` maps a user command to its question.
    """

    every_s: Seconds | None = None
    question: str = "What should I do next?"
    commands: dict[UserCommand, str] = {}
    timeout_s: Seconds = 30.0


class Config(Struct, frozen=True, kw_only=True):
    """Everything about one vehicle.

    `skills` is the file that declares what it can do; without it nothing is ever uploaded.
    `missions` maps a skill of that file to the mission that is uploaded for it, never started.
    While the vehicle is armed its mission is left alone unless `upload_while_armed`. `stop_command`
    and `resume_command` stop and release all uploads from the ground.
    """

    link: Link = Link()
    signing: Signing = Signing()
    speech: Speech = Speech()
    asking: Asking = Asking()
    skills: str | None = None
    missions: dict[str, Annotated[tuple[Item, ...], Meta(min_length=1, max_length=500)]] = {}
    upload_while_armed: bool = False
    stop_command: UserCommand = "USER_4"
    resume_command: UserCommand = "USER_5"
