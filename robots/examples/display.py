"""A display (a phone's terminal, a headset's text line): the plan that is valid now, and why not.

    python robots/examples/display.py
    python robots/examples/display.py --stream tcp://jetson:5555 --requests tcp://jetson:5556 \\
        --key tablet.client

One line on standard output whenever it changes: a program that draws it in glasses reads that. A
plan goes when its time is over, when the picture cannot be trusted and when the runtime is silent.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator

from otter_robots.client import Client
from otter_robots.errors import OtterError
from otter_robots.messages import Abstain, Answer, Fault
from otter_robots.topics import ANSWER, FAULT, HEALTH
from otter_robots.transit import Transit

POLL_S = 0.1
SILENT_S = 5.0  # a heartbeat comes every second


def lines(bus: Client) -> Iterator[str]:
    """What the display should show, whenever that changes."""
    bus.subscribe([ANSWER, FAULT, HEALTH])
    transit, shown = Transit(), ""
    plan, until_s, heard_s = "…", float("inf"), time.monotonic()
    while True:
        received, now_s = bus.receive(POLL_S), time.monotonic()
        if received is not None and received[0].origin == "live":
            envelope, message = received
            heard_s = now_s
            waited_s = transit.waited_s(envelope.epoch, envelope.mono_ns / 1e9, now_s)
            if isinstance(message, Answer) and not message.late:
                plan, until_s = message.text, now_s + (message.ttl_ms - message.age_ms) / 1e3
                until_s -= waited_s
            elif isinstance(message, Abstain):
                plan, until_s = f"({message.detail or message.reason})", float("inf")
            elif isinstance(message, Fault):
                plan = "…" if message.cleared else f"({message.detail})"
                until_s = float("inf")
        if now_s - heard_s > SILENT_S:
            plan, until_s = "(the assistant is silent)", float("inf")
        text = plan if now_s < until_s else "…"
        if text != shown:
            shown = text
            yield text


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--stream", help="the runtime's, e.g. tcp://jetson:5555")
    parser.add_argument("--requests", help="the runtime's, e.g. tcp://jetson:5556")
    parser.add_argument("--key", help="the .client file that `otter-edge keys make` wrote")
    args = parser.parse_args()
    try:
        with Client(args.stream, args.requests, "display", args.key) as bus:
            for line in lines(bus):
                print(line, flush=True)
    except OtterError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
