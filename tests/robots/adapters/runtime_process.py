"""A runtime without a model: a real bus that publishes what it reads on stdin, a line each.

    python runtime_process.py FOLDER

`{"answer": TEXT}`, `{"abstain": REASON}` and `{"fault": CODE}` publish, with further fields of the
message beside them; `"origin": "replay"` publishes as a recording does; `{"silent": true}` ends the
heartbeat. Every question is answered with its own text in capitals, published and as a reply.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import msgspec

from otter_robots import endpoints
from otter_robots.messages import Abstain, Ack, Answer, Fault, Health, Message, Question
from otter_robots.topics import ANSWER, FAULT, HEALTH, Topic
from otter_runtime.bus import Bus
from otter_runtime.journal import Journal

BEAT_S = 0.2


def answer(text: str, **fields: Any) -> Answer:
    given: dict[str, Any] = {
        "frame_ids": (1, 2),
        "captured_mono_ns": time.monotonic_ns(),
        "captured_wall_ns": time.time_ns(),
        "age_ms": 10.0,
        "ttl_ms": 30_000.0,
        "model_hash": "0" * 64,
    }
    return Answer(text=text, **(given | fields))


def message(order: dict[str, Any]) -> tuple[Topic, Message]:
    fields = {name: value for name, value in order.items() if name != "origin"}
    if "answer" in fields:
        return ANSWER, answer(fields.pop("answer"), **fields)
    if "abstain" in fields:
        return ANSWER, Abstain(reason=fields.pop("abstain"), **fields)
    return FAULT, Fault(code=fields.pop("fault"), **fields)


def publish(bus: Bus, order: dict[str, Any]) -> None:
    topic, said = message(order)
    if order.get("origin") == "replay":
        sealed = bus.outbox._sealed(topic.name, said)
        bus._send(msgspec.structs.replace(sealed, origin="replay"), b"")
    else:
        bus.publish(topic, said)


def main() -> None:
    folder = Path(sys.argv[1]).resolve()
    journal = Journal(folder / "journal.db")
    stream, requests = endpoints.stream_endpoint(folder), endpoints.requests_endpoint(folder)
    with Bus(stream, requests, journal) as bus:
        bus.watch(sys.stdin.fileno())
        os.set_blocking(sys.stdin.fileno(), False)
        print(json.dumps({"event": "bound"}), flush=True)
        beat_at_s, silent, typed = 0.0, False, b""
        while True:
            for request in bus.poll(50):
                asked = request.message
                told = {
                    "event": "asked",
                    "size": sum(map(len, request.blobs)),
                } | msgspec.to_builtins(asked)
                print(json.dumps(told), flush=True)
                bus.reply(request, Ack())
                if isinstance(asked, Question):
                    said = answer(asked.text.upper(), question_id=asked.id)
                    bus.reply(request, bus.publish(ANSWER, said))
            with contextlib.suppress(BlockingIOError):
                typed += os.read(sys.stdin.fileno(), 65_536)
            *lines, typed = typed.split(b"\n")
            for line in lines:
                order = json.loads(line)
                if "silent" in order:
                    silent = order["silent"]
                else:
                    publish(bus, order)
            if not silent and time.monotonic() >= beat_at_s:
                beat_at_s = time.monotonic() + BEAT_S
                bus.publish(HEALTH, Health(uptime_s=0))


if __name__ == "__main__":
    main()
