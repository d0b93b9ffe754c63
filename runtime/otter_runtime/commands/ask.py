"""`otter-edge ask`: one question to a running assistant, and its answer."""

from __future__ import annotations

import argparse
import json

from otter_robots import address
from otter_runtime.commands.seconds import seconds


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("question", help='for example "What should I do next?"')
    parser.add_argument(
        "--timeout", type=seconds, default=30.0, metavar="S", help="seconds to wait (default: 30)"
    )
    parser.add_argument(
        "--deadline-ms", type=int, metavar="MS", help="ask for the answer within this time"
    )
    parser.add_argument(
        "--conversation", default="", metavar="NAME", help="what was asked in it before counts too"
    )
    address.add_arguments(parser, stream=False)
    parser.add_argument("--json", action="store_true", help="print the reply as one JSON object")


def run(args: argparse.Namespace) -> int:
    """Ask and print; 0 for an answer, 1 where the assistant abstains."""
    from otter_robots.envelope import as_dict
    from otter_robots.messages import Answer
    from otter_robots.terminal import printable

    with address.connect(args, "otter-edge ask") as bus:
        envelope, reply = bus.ask_sealed(
            args.question,
            timeout_s=args.timeout,
            deadline_ms=args.deadline_ms,
            conversation=args.conversation,
        )
    if args.json:
        print(json.dumps(as_dict(envelope, reply)))
    elif isinstance(reply, Answer):
        print("\n".join(map(printable, reply.text.splitlines())))
    else:
        print(f"no answer: {printable(reply.detail or reply.reason)}")
    return 0 if isinstance(reply, Answer) else 1
