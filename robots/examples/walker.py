"""A robot that does what the assistant chooses among its skills; here its motors are `print`.

    otter-edge run --source runtime/otter_runtime/pocket/clip/episode-0.avi --folder runs/walker
    python robots/examples/walker.py "green pillar" --folder runs/walker

Every choice passes the guard: nothing moves on what is old, unsure, undeclared or stopped.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import time
from pathlib import Path

from otter_robots import endpoints
from otter_robots.client import Client
from otter_robots.errors import OtterError
from otter_robots.guard import Guard, Refused
from otter_robots.messages import Answer
from otter_robots.skills import Registry, affordance, condition, skill
from otter_robots.topics import COMMAND, HEALTH


class Walker:
    """What it can do, said as the pocket model says it."""

    def __init__(self) -> None:
        self.upright = True

    @skill("Turn left: the {thing} is on your left.", "Turn left: I saw the {thing} on your left.")
    def turn_left(self) -> None:
        print("<- left")

    @skill(
        "Turn right: the {thing} is on your right.", "Turn right: I saw the {thing} on your right."
    )
    def turn_right(self) -> None:
        print("-> right")

    @skill("Go forward: the {thing} is ahead of you.", requires="standing", every_s=0.2)
    def go_forward(self) -> None:
        print("^ forward")

    @skill("Stop: the {thing} is right in front of you.")
    def stop(self) -> None:
        print("there!")

    @skill("Look around: I can't see the {thing}.")
    def look_around(self) -> None:
        print("where is it?")

    @condition
    def standing(self) -> bool:
        return self.upright

    @affordance("go_forward")
    def grip(self) -> float:
        return 0.95


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("thing")
    parser.add_argument("--folder", type=Path, help="of the runtime")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--every", type=float, default=0.5, help="seconds between two questions")
    parser.add_argument("--sure", type=float, default=0.5, help="refuse what is less probable")
    parser.add_argument("--dry-run", action="store_true", help="check everything, move nothing")
    args = parser.parse_args()
    registry = Registry.of(Walker(), words={"thing": args.thing})
    guard = Guard(
        registry, dry_run=args.dry_run, min_confidence=args.sure, same_clock=True, say=print
    )
    stream, requests = (
        endpoints.stream_endpoint(args.folder),
        endpoints.requests_endpoint(args.folder),
    )
    try:
        with Client(stream, requests, "walker") as bus:
            bus.subscribe([HEALTH, COMMAND])
            for _ in range(args.steps):
                act(bus, guard, args.thing)
                time.sleep(args.every)
    except OtterError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


def act(bus: Client, guard: Guard, thing: str) -> None:
    """Ask, hear what else was said meanwhile, and do what passes the guard."""
    question = f"Go to the {thing}. What should I do next?"
    envelope, reply = bus.ask_sealed(question, skills=guard.registry)
    while heard := bus.receive(timeout_s=0):
        guard.hear(*heard)
    if not isinstance(reply, Answer):
        print(f"no answer: {reply.detail}")
        return
    with contextlib.suppress(Refused):  # the guard said why
        guard.perform(guard.check(envelope, reply))


if __name__ == "__main__":
    sys.exit(main())
