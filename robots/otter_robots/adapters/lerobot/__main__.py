"""`python -m otter_robots.adapters.lerobot`: commands for `lerobot-rollout`, on standard output.

    python -m otter_robots.adapters.lerobot --skills tasks.yaml | lerobot-rollout --interactive=true

What happens is told on standard error; where this ends, the rollout's input ends, and it stops.
"""

from __future__ import annotations

import argparse
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from otter_robots import address
from otter_robots.adapters import entry

if TYPE_CHECKING:
    from otter_robots.adapters.lerobot.config import Config
    from otter_robots.adapters.lerobot.robot import Conductor

NAME = "lerobot"


def parser() -> argparse.ArgumentParser:
    """The arguments; each overrides the name it has in the configuration file."""
    parser = entry.arguments(NAME, "Tell a LeRobot policy what to do next, on standard output.")
    parser.add_argument("--skills", metavar="FILE", help="a YAML file of the policy's tasks")
    parser.add_argument("--goal", metavar="TEXT", help="what to ask again and again")
    return parser


def run(args: argparse.Namespace) -> None:
    """Turn until interrupted or stopped; raises OtterError for what cannot be used."""
    from otter_robots import settings
    from otter_robots.adapters.lerobot.config import Config

    overrides: dict[str, Any] = {"skills": args.skills, "goal": args.goal}
    config = settings.read(Config, args.config, overrides)
    with ExitStack() as opened:
        conductor = _assemble(config, args, opened)
        while not conductor.over:
            conductor.turn()


def _assemble(config: Config, args: argparse.Namespace, opened: ExitStack) -> Conductor:
    from otter_robots.adapters.asker import Asker, asking
    from otter_robots.adapters.ear import Ear
    from otter_robots.adapters.lerobot.robot import Conductor
    from otter_robots.errors import UserError
    from otter_robots.guard import Guard
    from otter_robots.skills import Registry

    if config.skills is None:
        raise UserError("no tasks are declared; name their file with --skills")
    events = entry.Events(args.json, sys.stderr)
    guard = Guard(
        Registry.read(Path(config.skills)),
        dry_run=args.dry_run,
        max_age_ms=config.max_age_ms,
        min_confidence=config.min_confidence,
    )
    bus = opened.enter_context(address.connect(args, NAME))
    asker = Asker(lambda: address.connect(args, NAME), asking(config.timeout_s, guard))
    events("started", goal=config.goal)
    return Conductor(config, Ear(bus, asker, guard, events), _print, events)


def _print(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    arguments = parser().parse_args()
    sys.exit(entry.carry_out(NAME, lambda: run(arguments)))
