"""The bus as a stage: from `publish` until another process has the message."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from otter_robots.client import Client
from otter_robots.messages import Answer
from otter_robots.topics import ANSWER
from otter_runtime.bus import Bus
from otter_runtime.journal import Journal

ANSWERS = 200
LISTEN_S = 20.0


def publish_to_receive(answers: int = ANSWERS) -> list[float]:
    """Seconds from `publish` (journalled, ipc) until another process has the decoded message."""
    with tempfile.TemporaryDirectory(prefix="otter-bus-") as folder:
        bus = Bus(
            f"ipc://{folder}/stream", f"ipc://{folder}/requests", Journal(Path(folder) / "journal")
        )
        words = [sys.executable, __file__, bus.stream, bus.requests, str(answers)]
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as listener:
            assert listener.stdout is not None
            # It says "ready" once its subscription is sent; one poll here takes it in.
            listener.stdout.readline()
            for _ in range(answers):
                bus.poll(5)
                bus.publish(ANSWER, _answer())
            received = listener.stdout.readline()
        bus.close()
    return [float(word) for word in received.split()]


def _answer() -> Answer:
    return Answer(
        text="Turn left: the red box is on your left.",
        frame_ids=(1, 2, 3, 4),
        captured_mono_ns=time.monotonic_ns(),
        captured_wall_ns=time.time_ns(),
        age_ms=1.0,
        ttl_ms=1000.0,
        model_hash="0" * 64,
        question_id="q",
    )


def _listen(stream: str, requests: str, answers: int) -> None:
    with Client(stream=stream, requests=requests) as client:
        client.subscribe([ANSWER])
        time.sleep(0.5)
        print("ready", flush=True)
        spans: list[float] = []
        while len(spans) < answers and (received := client.receive(LISTEN_S)) is not None:
            spans.append((time.monotonic_ns() - received[0].mono_ns) / 1e9)
        print(*spans, flush=True)


if __name__ == "__main__":
    _listen(sys.argv[1], sys.argv[2], int(sys.argv[3]))
