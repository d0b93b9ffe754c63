"""The other process of the bus benchmark: hears one topic until nobody speaks any more.

    python benchmarks/bus_listener.py STREAM REQUESTS TOPIC KEY

KEY is a client's file, or empty. It reads on for as long as its input is open, and until it is
silent; then it prints how long each message took, and how many it heard and missed.
"""

from __future__ import annotations

import json
import select
import sys
import time

from otter_robots import topics
from otter_robots.client import Client

SILENCE_S = 0.5


def main(stream: str, requests: str, topic: str, key: str) -> None:
    """Listen, then print one JSON object."""
    spans_ms: list[float] = []
    with Client(stream, requests, "listener", key or None) as bus:
        bus.subscribe([topics.find(topic)])
        while (received := bus.receive(SILENCE_S)) or not _told_to_end():
            if received:
                spans_ms.append((time.monotonic_ns() - received[0].mono_ns) / 1e6)
        missed = bus.gaps.get(topic, 0)
    print(json.dumps({"spans_ms": spans_ms, "count": len(spans_ms), "missed": missed}))


def _told_to_end() -> bool:
    return bool(select.select([sys.stdin], [], [], 0)[0])


if __name__ == "__main__":
    main(*sys.argv[1:])
