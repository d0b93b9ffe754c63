"""`python -m otter_robots.adapters.ros2`: a node of a ROS 2 network, until it is ended."""

from __future__ import annotations

import argparse
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from otter_robots import address
from otter_robots.adapters import entry

if TYPE_CHECKING:
    from otter_robots.adapters.ros2.config import Config
    from otter_robots.adapters.ros2.robot import Bridge
    from otter_robots.guard import Guard

NAME = "ros2"


def parser() -> argparse.ArgumentParser:
    """The arguments; each overrides the name it has in the configuration file."""
    parser = entry.arguments(NAME, "Publish plans and acts on a ROS 2 network, and ask from there.")
    parser.add_argument("--backend", metavar="NAME", help="auto, rclpy, dds or none")
    parser.add_argument("--domain", type=int, metavar="N", help="instead of ROS_DOMAIN_ID")
    parser.add_argument("--camera", metavar="TOPIC", help="push this CompressedImage's frames")
    parser.add_argument("--bag", metavar="DIR", help="record what is published, as rosbag2")
    parser.add_argument("--skills", metavar="FILE", help="a YAML file of what the robot can do")
    return parser


def run(args: argparse.Namespace) -> None:
    """Turn until interrupted; raises OtterError for what cannot be used."""
    from otter_robots import settings
    from otter_robots.adapters.ros2.config import Config

    names = ("backend", "domain", "camera", "bag", "skills")
    overrides: dict[str, Any] = {name: getattr(args, name) for name in names}
    config = settings.read(Config, args.config, overrides)
    with ExitStack() as opened:
        bridge = _assemble(config, args, opened)
        while True:
            bridge.turn()


def _assemble(config: Config, args: argparse.Namespace, opened: ExitStack) -> Bridge:
    from otter_robots.adapters.asker import Asker, asking
    from otter_robots.adapters.ear import Ear
    from otter_robots.adapters.pusher import Pusher
    from otter_robots.adapters.ros2.node import open_node
    from otter_robots.adapters.ros2.robot import Bridge

    events = entry.Events(args.json)
    node = open_node(config, args.dry_run)
    opened.callback(node.close)
    bus = opened.enter_context(address.connect(args, NAME))
    guard = _guard(config, args.dry_run)
    asker = Asker(lambda: address.connect(args, NAME), asking(config.timeout_s, guard))
    pusher = None
    if config.camera is not None and not args.dry_run:
        pusher = Pusher(lambda: address.connect(args, NAME))
        opened.callback(pusher.close)
    ear = Ear(bus, asker, guard, events)
    events("started", namespace=config.namespace)
    return Bridge(config, ear, node, pusher, events)


def _guard(config: Config, dry_run: bool) -> Guard | None:
    """What stands before `act`; None where no skills are declared."""
    from pathlib import Path

    from otter_robots.guard import Guard
    from otter_robots.skills import Registry

    if config.skills is None:
        return None
    registry = Registry.read(Path(config.skills))
    return Guard(registry, dry_run=dry_run, max_age_ms=config.max_age_ms)


if __name__ == "__main__":
    arguments = parser().parse_args()
    sys.exit(entry.carry_out(NAME, lambda: run(arguments)))
