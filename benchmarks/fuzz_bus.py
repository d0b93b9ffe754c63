"""Mutated messages against a live runtime: it must not die, grow, miscount or fall silent.

    python benchmarks/fuzz_bus.py --messages 20000
    python benchmarks/fuzz_bus.py --messages 1000000 --seed 7 --json

Starts `otter-edge run --source bus` and sends it messages on three paths: requests, orders with a
stamp of this very run, and upstream on the stream socket. Between rounds a robot pushes a frame and
asks, and what the runtime counted as hostile is held against what was sent: this side decides with
the runtime's own reader what is no request, so both must agree to the message. Prints a table, then
one JSON line; the exit code is 1 where something of that failed.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import zmq
from mutations import Mutator

from otter_robots import endpoints, vectors
from otter_robots.client import Client
from otter_robots.envelope import pack, seal
from otter_robots.errors import WireError
from otter_robots.messages import (
    Answer,
    Command,
    Exemplar,
    Fault,
    Forget,
    Health,
    Image,
    Instruct,
    Order,
    Picture,
    Question,
    Stamp,
)
from otter_robots.topics import FAULT, HEALTH
from otter_runtime.errors import OtterError, UserError
from otter_runtime.request import read
from otter_runtime.subscriptions import MAX_TOPIC_BYTES

ROUNDS = 20
PATIENCE_S = 60.0
TRIES = 3
GROWTH_MIB = 16.0  # from a quarter of the way on: what allocators and caches may still take
# A well-formed question costs an answer; of those that a mutation left whole only some are asked.
ASKED = 0.002
PAGE_BYTES = 4096
SIDE = 64


def main(arguments: list[str] | None = None) -> int:
    """Fuzz, print; the exit code."""
    options = _parser().parse_args(arguments)
    try:
        with tempfile.TemporaryDirectory(prefix="otter-fuzz-") as folder:
            report = fuzz(Path(folder), options.messages, options.seed, options.json)
    except OtterError as error:
        print(error, file=sys.stderr)
        return 2
    if not options.json:
        print(table(report))
    print(json.dumps(report))
    return 1 if report["failed"] else 0


def fuzz(folder: Path, messages: int, seed: int, quiet: bool) -> dict[str, Any]:
    """Rounds of hostile messages, each followed by a look at the runtime; what came of it."""
    runtime = subprocess.Popen(
        [sys.executable, "-m", "otter_runtime", "run", "--source", "bus", "--folder", str(folder)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        with Robot(folder) as robot, Enemy(folder, seed) as enemy:
            robot.wait_until_it_answers(runtime)
            begun_s = time.monotonic()
            looks = []
            rounds = min(ROUNDS, max(2, messages // 5000))
            for number in range(rounds):
                enemy.attack(messages // rounds, robot.epoch)
                looks.append(robot.look(enemy.hostile, _resident_mib(runtime.pid)))
                if not quiet:
                    print(f"{number + 1}/{rounds} {looks[-1]}", file=sys.stderr)
            took_s = time.monotonic() - begun_s
            alive = runtime.poll() is None
            runtime.terminate()
            code = runtime.wait(PATIENCE_S)
            faults = dict(robot.faults)
    finally:
        runtime.kill()
        runtime.wait()
    memory = [look["rss_mib"] for look in looks]
    growth = memory[-1] - memory[len(memory) // 4]
    report: dict[str, Any] = {
        "seed": seed,
        "sent": dict(enemy.sent),
        "hostile_sent": enemy.hostile,
        "hostile_counted": looks[-1]["hostile"],
        "seconds": round(took_s, 1),
        "answers": sum(look["answered"] for look in looks),
        "asked": len(looks),
        "rss_mib": memory,
        "rss_growth_mib": round(growth, 1),
        "brain_restarts": looks[-1]["brain_restarts"],
        "faults": faults,
        "exit_code": code,
    }
    checks = {
        "it died": not alive or code != 0,
        "its brain died": report["brain_restarts"] > 0 or "brain" in faults,
        "it grew": growth > GROWTH_MIB,
        "it miscounted": any(look["hostile"] != look["hostile_sent"] for look in looks),
        "it fell silent": report["answers"] < report["asked"],
    }
    return report | {"failed": [name for name, wrong in checks.items() if wrong]}


class Robot:
    """A well-behaved peer: pushes a frame, asks about it, and hears how the runtime is."""

    def __init__(self, folder: Path) -> None:
        stream, requests = endpoints.stream_endpoint(folder), endpoints.requests_endpoint(folder)
        self._bus = Client(stream, requests, "robot")
        self._bus.subscribe([HEALTH, FAULT])
        self._clip = cv2.VideoCapture(str(_clip()))
        self._pushed = 0
        self.epoch = ""
        self.faults: Counter[str] = Counter()

    def wait_until_it_answers(self, runtime: subprocess.Popen[bytes]) -> None:
        """Raises UserError where it does not come up."""
        until_s = time.monotonic() + PATIENCE_S
        while not self.epoch:
            if runtime.poll() is not None or time.monotonic() > until_s:
                raise UserError("otter-edge run --source bus did not come up; try it by itself")
            health = self._health(time.monotonic() + 1)
            if health and health.brain_alive and self._answered():
                self.epoch = self._last_epoch

    def look(self, hostile: int, rss_mib: float) -> dict[str, Any]:
        """Whether it answers, and what it counted once it has read all that was sent."""
        # A machine that stood still for seconds makes a frame stale: that is said, and asked again.
        answered = any(self._answered() for _ in range(TRIES))
        until_s = time.monotonic() + PATIENCE_S
        while (health := self._health(until_s)) and health.hostile < hostile:
            pass
        # Another heartbeat, in which nothing more may have been counted.
        health = self._health(until_s) or health
        return {
            "answered": answered,
            "hostile": health.hostile if health else -1,
            "hostile_sent": hostile,
            "brain_restarts": health.brain_restarts if health else -1,
            "rss_mib": rss_mib,
        }

    def _answered(self) -> bool:
        good, frame = self._clip.read()
        if not good:
            self._clip.open(str(_clip()))
            _, frame = self._clip.read()
        self._pushed += 1
        height, width, _ = frame.shape
        picture = Picture(
            number=self._pushed,
            width=width,
            height=height,
            encoding="jpeg",
            taken_ns=time.monotonic_ns(),
            source="robot",
        )
        try:
            self._bus.push(picture, cv2.imencode(".jpg", frame)[1].tobytes())
            reply = self._bus.ask("Where is the red box?", PATIENCE_S, priority=100)
        except OtterError:
            return False
        return isinstance(reply, Answer)

    def _health(self, until_s: float) -> Health | None:
        """The next heartbeat that was sent from now on."""
        asked_ns = time.monotonic_ns()
        while (received := self._bus.receive(max(0.0, until_s - time.monotonic()))) is not None:
            envelope, message = received
            if isinstance(message, Fault) and not message.cleared:
                self.faults[message.code] += 1
            if isinstance(message, Health) and envelope.mono_ns >= asked_ns:
                self._last_epoch = envelope.epoch
                return message
        return None

    def __enter__(self) -> Robot:
        return self

    def __exit__(self, *_: object) -> None:
        self._bus.close()


class Enemy:
    """Sends what it likes and knows how much of it is hostile."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.hostile = 0
        self.sent: Counter[str] = Counter()
        self._dice = random.Random(seed)
        self._long: set[bytes] = set()
        self._requests = Mutator(seed, [data for _, data in vectors.missing(folder / "none")])
        self._jpeg = cv2.imencode(".jpg", np.full((SIDE, SIDE, 3), 99, np.uint8))[1].tobytes()
        self._context = zmq.Context()
        self._dealer = self._context.socket(zmq.DEALER)
        self._dealer.sndtimeo = round(PATIENCE_S * 1000)
        self._dealer.connect(endpoints.requests_endpoint(folder))
        self._stream = endpoints.stream_endpoint(folder)

    def attack(self, messages: int, epoch: str) -> None:
        """So many messages: three fifths requests, a fifth orders, a fifth on the stream.

        Raises UserError where nobody takes them any more.
        """
        with self._context.socket(zmq.XSUB) as stream:
            stream.sndhwm, stream.linger = 0, 10_000
            stream.connect(self._stream)
            try:
                for number in range(messages):
                    if number % 50 == 0:
                        # A stamp is good for one order: now and then one is carried out.
                        orders = Mutator(self._dice.randrange(1 << 32), _orders(epoch))
                        self._read_replies()
                    if number % 5 < 3:
                        self._request("request", self._requests.parts())
                    elif number % 5 == 3:
                        self._request("order", [orders.next(), *self._files()])
                    else:
                        self._upstream(stream)
            except zmq.Again as error:
                raise UserError("the runtime takes no requests any more") from error
        # libzmq takes back for a peer that left what it had subscribed to, too long or not.
        self.hostile += len(self._long)
        self._long.clear()
        self._read_replies()

    def _request(self, path: str, parts: list[bytes]) -> None:
        try:
            request = read([b"", *parts])
        except WireError:
            self.hostile += 1
        else:
            if isinstance(request.message, Question) and self._dice.random() > ASKED:
                self.sent["left out"] += 1
                return
        self.sent[path] += 1
        self._dealer.send_multipart(parts)

    def _files(self) -> list[bytes]:
        """Mostly none; else a picture as an exemplar has it, damaged or not."""
        if self._dice.random() > 0.1:
            return []
        damaged = bytearray(self._jpeg)
        for _ in range(self._dice.choice((0, 1, 5))):
            damaged[self._dice.randrange(len(damaged))] = self._dice.randrange(256)
        return [bytes(damaged[: self._dice.choice((len(damaged), 300))])]

    def _upstream(self, stream: zmq.Socket[bytes]) -> None:
        self.sent["stream"] += 1
        # Longer ones cost the connection, and are nobody's to count.
        data = self._requests.next()[:MAX_TOPIC_BYTES]
        if self._dice.random() < 0.2:
            # A subscription, to nothing there is; beyond 256 bytes it is none. Not too many, or
            # they end the connection.
            data = b"\1%d" % self._dice.randrange(100) + b"?" * self._dice.choice((2, 300))
            if len(data) > 1 + MAX_TOPIC_BYTES:
                self.hostile += 1
                self._long.add(data)
        elif data[:1] in (b"\0", b"\1", b""):
            data = b"\2" + data
            self.hostile += 1
        else:
            self.hostile += 1
        stream.send(data)

    def _read_replies(self) -> None:
        while self._dealer.poll(0):
            self._dealer.recv_multipart()

    def __enter__(self) -> Enemy:
        return self

    def __exit__(self, *_: object) -> None:
        self._context.destroy(linger=0)


def table(report: dict[str, Any]) -> str:
    """The report for people."""
    sent = ", ".join(f"{count} {path}" for path, count in report["sent"].items())
    memory = report["rss_mib"]
    return (
        f"sent in {report['seconds']} s: {sent}\n"
        f"hostile: {report['hostile_sent']} sent, {report['hostile_counted']} counted\n"
        f"answered: {report['answers']} of {report['asked']} questions in between\n"
        f"memory: {memory[0]:.0f} to {memory[-1]:.0f} MiB, "
        f"{report['rss_growth_mib']} MiB more since a quarter of the way\n"
        f"brain restarts {report['brain_restarts']}, faults {report['faults'] or 'none'}, "
        f"exit code {report['exit_code']}\n"
        f"failed: {', '.join(report['failed']) or 'nothing'}"
    )


def _orders(epoch: str) -> list[bytes]:
    """Good orders of this run, of which only the first can be carried out."""
    stamp = Stamp(client="enemy", epoch=epoch, seq=time.monotonic_ns(), ttl_ms=3_600_000.0)
    images = (Image(width=SIDE, height=SIDE),)
    given: list[Order] = [
        Command(name="spin", arguments={"turns": 3.0, "left": True, "how": "fast"}, stamp=stamp),
        Command(name="resume", stamp=stamp),
        Instruct(text="What should I do next?", interval_s=3600.0, stamp=stamp),
        Exemplar(id="a", instruction="Where?", answer="Here.", images=images, stamp=stamp),
        Forget(id="a", stamp=stamp),
    ]
    return [pack(seal(order, topic="request", epoch="e", seq=1)) for order in given]


def _resident_mib(pid: int) -> float:
    """Of a process and its children."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    pages = sum(int(Path(f"/proc/{one}/statm").read_text().split()[1]) for one in (pid, *children))
    return round(pages * PAGE_BYTES / (1 << 20), 1)


def _clip() -> Path:
    import otter_runtime

    return Path(otter_runtime.__file__).parent / "pocket" / "clip" / "episode-0.avi"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--messages", type=int, default=20_000, help="in all (default 20000)")
    parser.add_argument("--seed", type=int, default=1, help="the same seed, the same bytes")
    parser.add_argument("--json", action="store_true", help="the JSON line alone")
    return parser


if __name__ == "__main__":
    sys.exit(main())
