"""The companion and its guard, in one process: what a stop does that comes at the worst moment."""

from __future__ import annotations

import io
import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import msgspec
import pytest

pytest.importorskip("pymavlink")

from otter_robots.adapters.asker import Asker, asking
from otter_robots.adapters.ear import Ear, Heard
from otter_robots.adapters.entry import Events
from otter_robots.adapters.mavlink.config import Config, Link, Signing
from otter_robots.adapters.mavlink.robot import Companion
from otter_robots.adapters.mavlink.uploads import Uploads
from otter_robots.adapters.mavlink.vehicle import Vehicle
from otter_robots.client import Client
from otter_robots.envelope import seal
from otter_robots.guard import Guard
from otter_robots.messages import Answer
from otter_robots.skills import Declaration, Registry, Skills

ANSWER = Answer(
    text="Fly home.",
    frame_ids=(1,),
    captured_mono_ns=1,
    captured_wall_ns=1,
    age_ms=1.0,
    ttl_ms=60_000.0,
    model_hash="0" * 64,
)


class Vessel:
    """A companion whose guard is stopped while it looks whether the way is clear."""

    def __init__(self, folder: Path, opened: ExitStack) -> None:
        connect = partial(Client, f"ipc://{folder}/s", f"ipc://{folder}/r")
        self.told = io.StringIO()
        events = Events(as_json=True, to=self.told)
        port = opened.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        port.bind(("127.0.0.1", 0))
        link = Link(address=f"udpout:127.0.0.1:{port.getsockname()[1]}")
        config = Config(link=link)
        vehicle = Vehicle(link, Signing())
        opened.callback(vehicle.close)
        self.done: list[str] = []
        skills = Skills(skills={"go_home": Declaration(say="Fly home.", requires=("clear",))})
        registry = Registry(skills, {"go_home": self._go_home}, {"clear": self._clear})
        self.guard = Guard(registry, silent_s=None)
        bus = opened.enter_context(connect())
        asker = Asker(connect, asking(1.0, self.guard))
        opened.callback(asker.close)
        ear = Ear(bus, asker, self.guard, events)
        uploads = Uploads(config, vehicle, events)
        self.companion = Companion(config, ear, vehicle, uploads, events)
        self.stops = True

    def _go_home(self) -> None:
        self.done.append("go_home")

    def _clear(self) -> bool:
        if self.stops:
            self.guard.stop("somebody pressed the button")
        return True

    def hear(self, seq: int) -> list[str]:
        """What it tells about an answer; `skill` and `why` of its events."""
        self.told.seek(0)
        self.told.truncate()
        envelope = seal(ANSWER, topic="answer", epoch="e", seq=seq)
        self.companion._hear(Heard(ANSWER, envelope, 60.0), 0.0)
        events = [msgspec.json.decode(line) for line in self.told.getvalue().splitlines()]
        return [json.dumps(event) for event in events]


@pytest.fixture
def vessel(tmp_path: Path) -> Iterator[Vessel]:
    with ExitStack() as opened:
        yield Vessel(tmp_path, opened)


def test_a_stop_between_the_guards_two_looks_ends_nothing_but_the_step(vessel: Vessel) -> None:
    told = vessel.hear(1)
    assert any("refused" in event and "somebody pressed" in event for event in told)
    assert vessel.done == []
    vessel.companion.turn()
    vessel.stops = False
    vessel.guard.resume()
    vessel.hear(2)
    assert vessel.done == ["go_home"]
