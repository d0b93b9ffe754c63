"""What the bus costs: publish to receive between two processes, and what it sustains.

    python benchmarks/bus.py
    python benchmarks/bus.py --seconds 30 --json

Prints a table, then one JSON line. Latency is from `publish` until another process has the decoded
message, over ipc, tcp, and tcp with keys (CURVE), taken in turns so that all three see the same
machine; an `answer` is synced to disk before it leaves, a `delta` is not journalled. Sustained are
answers, of which what one turn publishes is one transaction, and deltas; both are counted on both
sides.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from otter_robots.messages import Answer, AnswerDelta, Message
from otter_robots.topics import ANSWER, DELTA, Topic
from otter_runtime.bus import Bus
from otter_runtime.errors import OtterError
from otter_runtime.journal import Journal
from otter_runtime.keyring import Keyring
from otter_runtime.percentile import percentile

LISTENER = Path(__file__).with_name("bus_listener.py")
TRANSPORTS = ("ipc", "tcp", "curve")
ROUND = 10  # messages over one transport before it is the next one's turn
PAUSE_MS = 2  # a subscriber that still has the last message would be measured waiting
TURN_S = 0.01
PATIENCE_S = 60.0


def main(arguments: list[str] | None = None) -> int:
    """Measure, print; the exit code."""
    options = _parser().parse_args(arguments)
    try:
        with tempfile.TemporaryDirectory(prefix="otter-bus-") as folder:
            report = measure(Path(folder), options)
    except OtterError as error:
        print(error, file=sys.stderr)
        return 2
    if not options.json:
        print(table(report))
    print(json.dumps(report))
    return 0


def measure(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Everything that the benchmark reports."""
    latency = {
        topic.name: latencies(folder / topic.name, topic, options.messages)
        for topic in (ANSWER, DELTA)
    }
    plain, curve = (latency["delta"][name]["p50_ms"] for name in ("tcp", "curve"))
    return {
        "latency_ms": latency,
        "curve_costs_ms": round(curve - plain, 4),
        "sustained": {
            topic.name: sustained(folder / f"{topic.name}-rate", topic, rate, options.seconds)
            for topic, rate in ((ANSWER, options.answers), (DELTA, options.deltas))
        },
    }


class Pair:
    """A bus here and a subscriber to one of its topics in another process."""

    def __init__(self, folder: Path, transport: str, topic: Topic) -> None:
        self.topic = topic
        self.published = 0
        self.journal = Journal(folder / "journal.db")
        stream = requests = "tcp://127.0.0.1:*"
        if transport == "ipc":
            stream, requests = f"ipc://{folder}/stream", f"ipc://{folder}/requests"
        keyring, key = None, ""
        if transport == "curve":
            (folder / "keys").mkdir(mode=0o700)
            keyring = Keyring(folder / "keys")
            key = str(keyring.make("listener", "observe"))
        self.bus = Bus(stream, requests, self.journal, keyring)
        words = [self.bus.stream, self.bus.requests, topic.name, key]
        self._listener = subprocess.Popen(
            [sys.executable, str(LISTENER), *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        until_s = time.monotonic() + PATIENCE_S
        while not self.bus.subscribed(topic) and time.monotonic() < until_s:
            self.bus.poll(10)

    def publish(self) -> None:
        """One message of the topic."""
        self.published += 1
        self.bus.publish(self.topic, _message(self.topic, self.published))

    def report(self) -> dict[str, Any]:
        """What the other side heard, once it is silent; the bus is closed with that."""
        self.bus.poll(100)
        assert self._listener.stdin
        assert self._listener.stdout
        self._listener.stdin.close()
        heard: dict[str, Any] = json.loads(self._listener.stdout.read())
        self._listener.stdout.close()
        self._listener.wait()
        return heard

    def close(self) -> None:
        """End both sides."""
        self._listener.kill()
        self._listener.wait()
        self.bus.close()


@contextmanager
def pair(folder: Path, transport: str, topic: Topic) -> Iterator[Pair]:
    """A Pair in a folder of its own."""
    folder.mkdir(mode=0o700, parents=True)
    made = Pair(folder, transport, topic)
    try:
        yield made
    finally:
        made.close()


def latencies(folder: Path, topic: Topic, messages: int) -> dict[str, Any]:
    """Milliseconds from publish to receive over each transport, the transports taking turns."""
    with ExitStack() as stack:
        pairs = {t: stack.enter_context(pair(folder / t, t, topic)) for t in TRANSPORTS}
        for _ in range(0, messages, ROUND):
            for one in pairs.values():
                for _ in range(min(ROUND, messages)):
                    one.bus.poll(PAUSE_MS)
                    one.publish()
        return {name: _summary(one.report()["spans_ms"]) for name, one in pairs.items()}


def sustained(folder: Path, topic: Topic, rate_hz: float, seconds: float) -> dict[str, Any]:
    """Publish at a rate over ipc, a batch per turn, and count what arrived and what is on disk."""
    turns_ms: list[float] = []
    last_s = 0.0
    with pair(folder, "ipc", topic) as one:
        begun_s = time.monotonic()
        while (past_s := time.monotonic() - begun_s) < seconds:
            turn_s, last_s = time.monotonic(), past_s
            with one.bus.batch():
                while one.published < past_s * rate_hz:
                    one.publish()
            turns_ms.append((time.monotonic() - turn_s) * 1e3)
            one.bus.poll(max(0.0, TURN_S - (time.monotonic() - turn_s)) * 1e3)
        heard = one.report()
        kept = len(one.journal.after(topic.name)) if topic.journalled else 0
        return {
            "asked_hz": rate_hz,
            "rate_hz": round(one.published / last_s, 1),
            "seconds": round(last_s, 2),
            "published": one.published,
            "journalled": kept,
            "received": heard["count"],
            "missed": heard["missed"],
            "turn_ms": _summary(turns_ms),
        }


def table(report: dict[str, Any]) -> str:
    """The report for people."""
    rows = [f"{'publish to receive':22}{'p50 ms':>10}{'p99 ms':>10}{'messages':>10}"]
    for topic, by_transport in report["latency_ms"].items():
        for name, one in by_transport.items():
            rows.append(
                f"{topic + ' ' + name:22}{one['p50_ms']:10.3f}{one['p99_ms']:10.3f}{one['runs']:10}"
            )
    rows.append(f"keys cost {report['curve_costs_ms']:.3f} ms of a delta at p50")
    for topic, one in report["sustained"].items():
        rows.append(
            f"{topic}: {one['rate_hz']:.0f} a second for {one['seconds']:.0f} s, "
            f"{one['published']} published, {one['journalled']} journalled, "
            f"{one['received']} received, {one['missed']} missed; "
            f"a turn takes {one['turn_ms']['p50_ms']:.2f} ms, p99 {one['turn_ms']['p99_ms']:.2f} ms"
        )
    return "\n".join(rows)


def _summary(values: list[float]) -> dict[str, Any]:
    return {
        "p50_ms": round(percentile(values, 50), 4),
        "p99_ms": round(percentile(values, 99), 4),
        "runs": len(values),
    }


def _message(topic: Topic, number: int) -> Message:
    text = "Turn left: the red box is on your left."
    if topic is DELTA:
        return AnswerDelta(text=text, index=number, question_id="q")
    return Answer(
        text=text,
        frame_ids=(1, 2, 3, 4),
        captured_mono_ns=time.monotonic_ns(),
        captured_wall_ns=time.time_ns(),
        age_ms=1.0,
        ttl_ms=1000.0,
        model_hash="0" * 64,
        question_id="q",
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument(
        "--messages", type=int, default=1000, help="per topic and transport (default 1000)"
    )
    parser.add_argument(
        "--answers", type=float, default=500, help="answers a second to sustain (default 500)"
    )
    parser.add_argument(
        "--deltas", type=float, default=10_000, help="deltas a second to sustain (default 10000)"
    )
    parser.add_argument(
        "--seconds", type=float, default=10.0, help="for how long to sustain them (default 10)"
    )
    parser.add_argument("--json", action="store_true", help="the JSON line alone")
    return parser


if __name__ == "__main__":
    sys.exit(main())
