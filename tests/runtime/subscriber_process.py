"""A subscriber in a process of its own, for tests: recovers answers, can be stopped from outside.

    python subscriber_process.py STREAM REQUESTS

It says when it hears, ends after two seconds of silence, and prints what it heard.
"""

from __future__ import annotations

import json
import sys

from otter_robots.client import OLDEST, Client
from otter_robots.topics import ANSWER


def main(stream: str, requests: str) -> None:
    heard: list[list[object]] = []
    with Client(stream, requests) as bus:
        for envelope, _ in bus.messages([ANSWER], 2, since=OLDEST):
            if not heard:
                print("hearing", flush=True)
            heard.append([envelope.epoch, envelope.seq])
        print(json.dumps({"heard": heard, "recovered": bus.recovered, "lost": bus.lost}))


if __name__ == "__main__":
    main(*sys.argv[1:])
