"""`otter-edge sub`: what is published, line by line, as a robot receives it."""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING

from otter_robots import address
from otter_runtime.commands.seconds import seconds

if TYPE_CHECKING:
    from otter_robots.client import Client, Place
    from otter_robots.envelope import Envelope
    from otter_robots.messages import Message


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "--topic", action="append", metavar="NAME", help="only this topic (may be given again)"
    )
    parser.add_argument("--count", type=int, metavar="N", help="end after this many messages")
    parser.add_argument(
        "--timeout", type=seconds, metavar="S", help="end after this many seconds of silence"
    )
    parser.add_argument(
        "--since",
        metavar="PLACE",
        help="journalled topics without holes: everything kept (`oldest`), or what came after "
        "EPOCH:SEQ of one --topic",
    )
    parser.add_argument(
        "--replay",
        action="store_true",
        help="what `otter-edge replay` plays back, not what is live",
    )
    address.add_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object per line")


def run(args: argparse.Namespace) -> int:
    """Print until the count, the silence or an interrupt; UserError below the count."""
    from otter_robots import topics
    from otter_robots.errors import UserError

    chosen = [topics.find(name) for name in args.topic or topics.TOPICS]
    if args.replay:
        chosen = [topic.replayed for topic in chosen]
    since = _place(args.since) if args.since else None
    with address.connect(args, "otter-edge sub") as bus:
        if not args.json:  # a stream where nobody publishes is silent
            print(f"otter-edge: listening at {bus.stream}", file=sys.stderr)
        printed = 0
        for envelope, message in bus.messages(chosen, args.timeout, since=since):
            print(_json(envelope, message) if args.json else _line(envelope, message), flush=True)
            printed += 1
            if printed == args.count:
                break
        _say_losses(bus)
    if args.count and printed < args.count:
        raise UserError(
            f"heard {printed} of {args.count} messages before {args.timeout:g} s of silence"
        )
    return 0


def _place(word: str) -> Place:
    from otter_robots.client import OLDEST, Place
    from otter_robots.errors import UserError

    epoch, _, seq = word.rpartition(":")
    if word == "oldest":
        return OLDEST
    if epoch and seq.isdecimal() and int(seq) < 1 << 63:
        return Place(epoch, int(seq))
    raise UserError(f"{word!r} is no place; write oldest or EPOCH:SEQ, as --json prints them")


def _json(envelope: Envelope, message: Message) -> str:
    from otter_robots.envelope import as_dict

    return json.dumps(as_dict(envelope, message))


def _line(envelope: Envelope, message: Message) -> str:
    from otter_robots.describe import describe
    from otter_robots.terminal import printable

    return printable(f"{envelope.topic:>7} {envelope.seq:>5}  {describe(message)}")


def _say_losses(bus: Client) -> None:
    lost = {topic: count for topic, count in bus.gaps.items() if count}
    gone = {topic: count for topic, count in bus.lost.items() if count}
    if lost or gone or bus.hostile:
        print(
            f"otter-edge: missed {lost or 'nothing'}, recovered {sum(bus.recovered.values())}, "
            f"gone for good {gone or 'nothing'}, refused {bus.hostile}",
            file=sys.stderr,
        )
