"""Exemplars over the bus, on `otter-edge run`: set, limited, told to a new brain, forgotten."""

from __future__ import annotations

import asyncio
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from otter_robots import aio, endpoints
from otter_robots.client import Client
from otter_robots.errors import RequestRefused, UserError
from otter_robots.messages import MOST_EXEMPLARS, Answer, Exemplar, Fault, Health, Image, Picture
from otter_robots.topics import FAULT, HEALTH
from otter_runtime import exemplar_files
from otter_runtime.config import read

PATIENCE_S = 60.0
SIDE = 40


def jpeg(seed: int) -> bytes:
    file = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 255, (SIDE, SIDE, 3), np.uint8)
    Pillow.fromarray(pixels).save(file, "jpeg")
    return file.getvalue()


def exemplar(name: str, pictures: int = 1, answer: str = "Left.") -> Exemplar:
    images = (Image(width=SIDE, height=SIDE),) * pictures
    return Exemplar(id=name, instruction="Where?", answer=answer, images=images)


@pytest.fixture
def run(bundle: Path, tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], Client]]:
    """A runtime whose answers depend on every token and picture, and a client once it is ready."""
    words = ["run", "--source", "bus", "--bundle", str(bundle), "--folder", str(tmp_path)]
    process = subprocess.Popen(
        [sys.executable, "-m", "otter_runtime", *words], stdout=subprocess.DEVNULL
    )
    stream, requests = endpoints.stream_endpoint(tmp_path), endpoints.requests_endpoint(tmp_path)
    try:
        with Client(stream, requests, "robot") as bus:
            until(bus, restarts=0)
            yield process, bus
    finally:
        process.terminate()
        process.wait(20)


def until(bus: Client, restarts: int) -> None:
    """Wait for a brain that was started so often."""
    until_s = time.monotonic() + PATIENCE_S
    for _, health in bus.messages([HEALTH], PATIENCE_S):
        assert isinstance(health, Health)
        if health.brain_alive and health.brain_restarts == restarts:
            return
        assert time.monotonic() < until_s


class Frames:
    """Pushes the same picture, as the next frame of a scene of its own."""

    def __init__(self, bus: Client) -> None:
        self.bus, self.scene = bus, 0

    def answer(self) -> str:
        self.scene += 1
        picture = Picture(
            number=0, width=SIDE, height=SIDE, encoding="jpeg", taken_ns=0, scene=self.scene
        )
        self.bus.push(picture, jpeg(0))
        answer = self.bus.ask("Go?", PATIENCE_S, frame=0)
        assert isinstance(answer, Answer), answer
        return answer.text


def test_exemplars_over_the_bus(run: tuple[subprocess.Popen[bytes], Client]) -> None:
    process, bus = run
    frames = Frames(bus)
    alone = frames.answer()
    bus.pin(exemplar("a", pictures=2), [jpeg(1), jpeg(2)], PATIENCE_S)
    shown = frames.answer()
    assert shown != alone
    # Refused, with what stands unharmed.
    with pytest.raises(RequestRefused, match="shorten"):
        bus.pin(exemplar("a", answer="very long " * 30), [jpeg(1)], PATIENCE_S)
    with pytest.raises(RequestRefused, match="no whole jpeg"):
        bus.pin(exemplar("b"), [jpeg(1)[:-300]], PATIENCE_S)
    with pytest.raises(UserError, match="the bus takes"):
        bus.pin(exemplar("b"), [bytes(1 << 21)])
    assert frames.answer() == shown
    # A new brain knows it as well.
    (brain,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    os.kill(int(brain), signal.SIGKILL)
    until(bus, restarts=1)
    assert frames.answer() == shown
    bus.forget("a")
    assert frames.answer() == alone
    # No more than a few.
    for number in range(MOST_EXEMPLARS):
        bus.pin(exemplar(str(number), answer="L"), [jpeg(number)], PATIENCE_S)
    with pytest.raises(RequestRefused, match="4 exemplars stand already"):
        bus.pin(exemplar("more"), [jpeg(1)], PATIENCE_S)
    bus.pin(exemplar("1", answer="R"), [jpeg(1)], PATIENCE_S)
    asyncio.run(forget(bus.stream, bus.requests))
    assert frames.answer() == alone


def test_exemplars_from_the_start(bundle: Path, tmp_path: Path) -> None:
    """They stand in front of the first question, and are forgotten like any other."""
    (tmp_path / "left.jpg").write_bytes(jpeg(1))
    config = tmp_path / "run.yaml"
    shown = {"pictures": [str(tmp_path / "left.jpg")], "instruction": "Where?"}
    named = {"left": {**shown, "answer": "Left."}, "long": {**shown, "answer": "far " * 90}}
    config.write_text(json.dumps({"exemplars": named}))  # JSON is YAML
    words = ["run", "--source", "bus", "--bundle", str(bundle), "--folder", str(tmp_path)]
    process = subprocess.Popen(
        [sys.executable, "-m", "otter_runtime", *words, "--config", str(config)],
        stdout=subprocess.DEVNULL,
    )
    stream, requests = endpoints.stream_endpoint(tmp_path), endpoints.requests_endpoint(tmp_path)
    try:
        with Client(stream, requests, "robot") as bus:
            (fault,) = (one for _, one in islice(bus.messages([FAULT], PATIENCE_S), 1))
            assert isinstance(fault, Fault)
            assert fault.code == "exemplar"
            assert "long" in fault.detail
            frames = Frames(bus)
            with_it = frames.answer()
            assert frames.answer() == with_it
            bus.forget("left")
            assert frames.answer() != with_it
    finally:
        process.terminate()
        process.wait(20)


@pytest.mark.parametrize(
    ("content", "many", "says"),
    [(None, 1, "left.jpg.*No such file"), (b"GIF89a", 1, "no such picture"), (b"", 5, "5 exempl")],
)
def test_exemplars_that_cannot_stand_are_refused_before_the_brain_starts(
    content: bytes | None, many: int, says: str, tmp_path: Path
) -> None:
    path = tmp_path / "left.jpg"
    if content is not None:
        path.write_bytes(content)
    one = {"pictures": [str(path)], "instruction": "Where?", "answer": "Left."}
    config = read(None, {"exemplars": {str(number): one for number in range(many)}})
    with pytest.raises(UserError, match=says):
        exemplar_files.pins(config.exemplars)


async def forget(stream: str, requests: str) -> None:
    async with aio.Client(stream, requests, "another") as bus:
        await bus.forget()
        await bus.pin(exemplar("b", pictures=1), [jpeg(1)], PATIENCE_S)
        await bus.forget("b")
