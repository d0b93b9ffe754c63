"""python -m otter_robots.adapters.gymnasium: a robot in a simulator, driven by what is answered."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from otter_robots import address
from otter_robots.adapters import entry

NAME = "gymnasium"


def main(argv: list[str] | None = None) -> int:
    """Run the episodes; 0 when they are over, 2 for what only the user can mend."""
    parser = entry.arguments(NAME, "Act on a runtime's answers in a gymnasium environment.")
    parser.add_argument("--episodes", type=int, default=1, help="how many (default: 1)")
    parser.add_argument("--seed", type=int, default=0, help="of the first one (default: 0)")
    args = parser.parse_args(argv)
    return entry.carry_out(NAME, lambda: _run(args))


def _run(args: argparse.Namespace) -> None:
    from otter_robots import settings
    from otter_robots.adapters.gymnasium.body import Body
    from otter_robots.adapters.gymnasium.config import Config
    from otter_robots.adapters.gymnasium.pilot import Pilot

    config = settings.read(Config, args.config or Path(__file__).with_name("config.yaml"))
    body = Body(config)
    try:
        with address.connect(args, NAME) as bus:
            pilot = Pilot(bus, body, config, entry.Events(args.json), args.dry_run)
            for seed in range(args.seed, args.seed + args.episodes):
                pilot.episode(seed)
    finally:
        body.close()


if __name__ == "__main__":
    sys.exit(main())
