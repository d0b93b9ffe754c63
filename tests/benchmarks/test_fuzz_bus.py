"""The fuzzer on a real runtime, short; and on what a subscriber reads."""

from __future__ import annotations

import json
import sys
import tracemalloc
from pathlib import Path

import fuzz_bus
import msgspec
import pytest
from mutations import Mutator

from otter_robots import vectors
from otter_robots.envelope import MAX_MESSAGE_BYTES, unpack
from otter_robots.errors import UserError, WireError
from otter_robots.listener import Listener
from otter_robots.recovery import OLDEST
from otter_robots.topics import ANSWER, FAULT, TOPICS


def bases() -> list[bytes]:
    return [data for _, data in vectors.missing(Path("nowhere"))]


@pytest.mark.parametrize(
    "messages", [20_000, pytest.param(1_000_000, marks=pytest.mark.slow)], ids=str
)
def test_a_live_runtime_survives(messages: int, capsys: pytest.CaptureFixture[str]) -> None:
    """In full, about four minutes: python benchmarks/fuzz_bus.py --messages 1000000."""
    code = fuzz_bus.main(["--messages", str(messages), "--seed", "11"])
    report = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert report["failed"] == []
    assert code == 0
    assert report["hostile_counted"] == report["hostile_sent"] > messages * 0.8
    assert sum(report["sent"].values()) == messages
    assert report["answers"] == report["asked"] >= 4


def test_a_subscriber_survives_whatever_is_published_or_replied() -> None:
    mutator = Mutator(5, bases())
    listener = Listener()
    listener.recover([ANSWER, FAULT], OLDEST)
    wires = [topic.wire for topic in TOPICS.values()]
    refused = 0
    for number in range(20_000):
        for history in listener.due(float(number)):
            listener.asked(history, vectors.SMALL, float(number))
        listener.hear([wires[number % len(wires)], *mutator.parts()], float(number))
        try:
            listener.take(mutator.parts(), float(number))
        except UserError:
            refused += 1  # a refusal is believed, whoever says it
        while listener.give():
            pass
    assert listener.hostile > 10_000
    assert listener.ready == 0


def test_the_same_seed_gives_the_same_bytes_and_some_are_good() -> None:
    one, other = (Mutator(3, bases()) for _ in range(2))
    messages = [one.next() for _ in range(2000)]
    assert messages == [other.next() for _ in range(2000)]
    assert max(map(len, messages)) < MAX_MESSAGE_BYTES
    read = sum(map(readable, messages))
    assert 100 < read < 1500


def readable(data: bytes) -> bool:
    try:
        unpack(data)
    except WireError:
        return False
    return True


@pytest.mark.parametrize("header", [b"\xdb", b"\xc6", b"\xdd", b"\xdf", b"\xc9"])
def test_a_length_bomb_takes_no_memory(header: bytes) -> None:
    fields = msgspec.msgpack.decode(bases()[0])
    bomb = msgspec.msgpack.encode(fields)[:-1] + header + b"\xff\xff\xff\xff" + b"x" * 100
    tracemalloc.start()
    assert not readable(bomb)
    assert not readable(header + b"\xff\xff\xff\xff" + b"x" * 100)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 20


def test_a_runtime_that_does_not_come_up_is_a_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    assert fuzz_bus.main(["--messages", "10"]) == 2
    assert "did not come up" in capsys.readouterr().err
