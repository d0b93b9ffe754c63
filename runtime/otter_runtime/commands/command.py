"""`otter-edge command`: an order to every robot, past the model; `stop` is the emergency stop."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING

from otter_robots import address

if TYPE_CHECKING:
    from otter_robots.messages import Argument

WORDS = {"true": True, "false": False}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("name", help="stop, resume, or a command that your robots know")
    parser.add_argument(
        "arguments",
        nargs="*",
        default=[],  # without one argparse calls them required
        metavar="NAME=VALUE",
        help="a number, true, false, or a text",
    )
    address.add_arguments(parser, stream=False)
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Give the order; it was published once this returns 0. Raises UserError."""
    from otter_robots.connection import ORDER_TTL_MS, STOP_TTL_MS
    from otter_robots.messages import STOP

    arguments = dict(_argument(word) for word in args.arguments)
    with address.connect(args, "otter-edge command") as bus:
        bus.command(args.name, arguments, STOP_TTL_MS if args.name == STOP else ORDER_TTL_MS)
    if args.json:
        print(json.dumps({"command": args.name, "arguments": arguments}))
    else:
        print(f"{args.name} was published to the robots")
    return 0


def _argument(word: str) -> tuple[str, Argument]:
    from otter_robots.errors import UserError

    name, equals, value = word.partition("=")
    if not name or not equals:
        raise UserError(f"{word!r} is no argument; write NAME=VALUE")
    return name, _value(value)


def _value(word: str) -> Argument:
    if word in WORDS:
        return WORDS[word]
    try:
        return float(word)
    except ValueError:
        return word
