"""`python -m otter_robots.adapters.mavlink`: a companion of one vehicle, until it is ended."""

from __future__ import annotations

import argparse
import sys
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from otter_robots import address
from otter_robots.adapters import entry

if TYPE_CHECKING:
    from otter_robots.adapters.mavlink.config import Config
    from otter_robots.adapters.mavlink.robot import Companion
    from otter_robots.adapters.mavlink.uploads import Uploads
    from otter_robots.guard import Guard

NAME = "mavlink"


def parser() -> argparse.ArgumentParser:
    """The arguments; each overrides the name it has in the configuration file."""
    parser = entry.arguments(NAME, "Tell plans to a vehicle's pilot and upload declared missions.")
    parser.add_argument(
        "--link", metavar="ADDRESS", help="udpin:HOST:PORT, udpout:.., tcp:.. or serial:DEVICE:BAUD"
    )
    parser.add_argument("--skills", metavar="FILE", help="a YAML file of what the vehicle can do")
    parser.add_argument("--sign", metavar="FILE", help="sign with this key and refuse what is not")
    parser.add_argument("--make-key", type=Path, metavar="FILE", help="make a key file and end")
    return parser


def run(args: argparse.Namespace) -> None:
    """Turn until interrupted; raises OtterError for what cannot be used."""
    if args.make_key is not None:
        from otter_robots.adapters.mavlink.signing import make_key

        make_key(args.make_key)
        return
    from otter_robots import settings
    from otter_robots.adapters.mavlink.config import Config

    overrides: dict[str, Any] = {
        "link": {"address": args.link},
        "signing": {"key": args.sign},
        "skills": args.skills,
    }
    config = settings.read(Config, args.config, overrides)
    with ExitStack() as opened:
        companion = _assemble(config, args, opened)
        while True:
            companion.turn()


def _assemble(config: Config, args: argparse.Namespace, opened: ExitStack) -> Companion:
    from otter_robots.adapters.asker import Asker, asking
    from otter_robots.adapters.ear import Ear
    from otter_robots.adapters.mavlink.robot import Companion
    from otter_robots.adapters.mavlink.uploads import Uploads
    from otter_robots.adapters.mavlink.vehicle import Vehicle

    events = entry.Events(args.json)
    vehicle = Vehicle(config.link, config.signing, mute=args.dry_run)
    opened.callback(vehicle.close)
    bus = opened.enter_context(address.connect(args, NAME))
    uploads = Uploads(config, vehicle, events)
    guard = _guard(config, uploads, args.dry_run)
    asker = Asker(lambda: address.connect(args, NAME), asking(config.asking.timeout_s, guard))
    events("started", link=config.link.address, signed=config.signing.key is not None)
    return Companion(config, Ear(bus, asker, guard, events), vehicle, uploads, events)


def _guard(config: Config, uploads: Uploads, dry_run: bool) -> Guard | None:
    """What stands between an answer and an upload; None where no skills are declared."""
    from otter_robots import settings
    from otter_robots.errors import UserError
    from otter_robots.guard import Guard
    from otter_robots.skills import Registry, Skills

    if config.skills is None:
        if config.missions:
            raise UserError("missions are declared without skills; name their file as `skills`")
        return None
    path = Path(config.skills)
    skills = settings.read(Skills, path)
    for name in config.missions:
        if name not in skills.skills:
            raise UserError(f"there is a mission for {name}, no skill of {path}; declare it there")
    actions = {
        name: partial(uploads.start, name) if name in config.missions else _only_said
        for name in skills.skills
    }
    registry = Registry(skills, actions, uploads.conditions())
    return Guard(registry, dry_run=dry_run)


def _only_said(**arguments: object) -> None:
    """A skill without a mission: the pilot was told, and does it."""


if __name__ == "__main__":
    arguments = parser().parse_args()
    sys.exit(entry.carry_out(NAME, lambda: run(arguments)))
