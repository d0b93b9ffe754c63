"""A subscriber in a process of its own that keeps every answer in a file, for tests of crashes.

    python keeper_process.py STREAM REQUESTS FILE

It goes on after the last line that is whole, like a robot that was restarted. A line is an epoch, a
seq, and the text or the number of those that are gone.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from otter_robots.client import OLDEST, Client, Place
from otter_robots.messages import Lost
from otter_robots.topics import ANSWER


def main(stream: str, requests: str, file: Path) -> None:
    lines = file.read_bytes().splitlines() if file.exists() else []
    since = Place(*json.loads(lines[-1])[:2]) if lines else OLDEST
    kept = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    with Client(stream, requests) as bus:
        for envelope, message in bus.messages([ANSWER], since=since):
            said = message.count if isinstance(message, Lost) else getattr(message, "text", "")
            line = json.dumps([envelope.epoch, envelope.seq, said]) + "\n"
            os.write(kept, line.encode())  # whole or not at all: it is less than a page


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
