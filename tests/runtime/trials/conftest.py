"""A trial that a real run recorded: packaged clips, questions, an exemplar."""

from __future__ import annotations

import io
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image as Pillow

import otter_runtime
from otter_robots import endpoints
from otter_robots.client import Client
from otter_robots.messages import Answer, Exemplar, Image, Message, Status
from otter_robots.topics import ANSWER, STATUS
from otter_runtime.trials.shelf import trials_in

CLIPS = sorted((Path(otter_runtime.__file__).parent / "pocket" / "clip").glob("*.avi"))
PLAN = "What should I do next?"
LIMIT_S = 120.0


@pytest.fixture(scope="session")
def recorded() -> Iterator[Path]:
    """The folder of a finished trial of some five seconds; it is not to be changed."""
    with tempfile.TemporaryDirectory(prefix="otter-") as name:
        folder = Path(name)
        command = [
            "run", "--source", *map(str, CLIPS[:2]), "--instruction", PLAN, "--speed", "4",
            "--threads", "1", "--wait", "60", "--folder", name, "--record", str(folder / "trials"),
        ]  # fmt: skip
        run = subprocess.Popen([sys.executable, "-m", "otter_runtime", *command])
        try:
            _attend(folder)
            assert run.wait(LIMIT_S) == 0
        finally:
            run.kill()
            run.wait()
        (path,) = trials_in(folder / "trials")
        yield path


def _attend(folder: Path) -> None:
    """Ask, cancel and show while it runs, until it ended."""
    stream, requests = endpoints.stream_endpoint(folder), endpoints.requests_endpoint(folder)
    with Client(stream, requests, "test") as bus:
        bus.subscribe([ANSWER, STATUS])
        _until(bus, Answer)
        bus.pin(_exemplar(), [_picture()])
        bus.ask("Where is the red box?", conversation="boxes")
        bus.ask("And now?", conversation="boxes")
        bus.cancel("nobody-asked-this")
        _until(bus, Status, "ended")


def _until(bus: Client, kind: type[Message], state: str = "") -> None:
    until_s = time.monotonic() + LIMIT_S
    while time.monotonic() < until_s:
        item = bus.receive(0.5)
        if item and isinstance(item[1], kind) and getattr(item[1], "state", "") == state:
            return
    raise AssertionError(f"no {kind.__name__} within {LIMIT_S} s")


def _picture() -> bytes:
    file = io.BytesIO()
    Pillow.new("RGB", (64, 64), (200, 30, 30)).save(file, "png")
    return file.getvalue()


def _exemplar() -> Exemplar:
    images = (Image(width=64, height=64, encoding="png"),)
    return Exemplar(id="red", instruction="What is it?", answer="A red wall.", images=images)
