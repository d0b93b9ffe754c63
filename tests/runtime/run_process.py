"""One `otter-edge run` as a process, heard by this one; and a video whose pictures all differ."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import psutil

from otter_robots import endpoints
from otter_robots.client import Client
from otter_robots.envelope import Envelope
from otter_robots.messages import Answer, Fault, Message, Status

LIMIT_S = 30.0


class Run:
    """One `otter-edge run`, and a client of it."""

    def __init__(
        self, folder: Path, bundle: Path, *words: str, env: dict[str, str] | None = None
    ) -> None:
        self.client = Client(
            endpoints.stream_endpoint(folder), endpoints.requests_endpoint(folder), "test"
        )
        self.client.subscribe()
        command = ["run", "--folder", str(folder), "--bundle", str(bundle), "--wait", "10"]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "otter_runtime", *command, "--threads", "1", *words],
            stdout=subprocess.DEVNULL,
            env={**os.environ, **(env or {})},
        )
        self.heard: list[tuple[Envelope, Message]] = []

    def until(self, wanted: Callable[[Message], bool]) -> Any:
        """Hear messages until one is wanted; that one."""
        until_s = time.monotonic() + LIMIT_S
        while time.monotonic() < until_s:
            item = self.client.receive(0.2)
            if item is not None:
                self.heard.append(item)
                if wanted(item[1]):
                    return item[1]
        raise AssertionError(f"not heard within {LIMIT_S} s; heard {self.heard}")

    def answer(self) -> Answer:
        found: Answer = self.until(lambda message: isinstance(message, Answer))
        return found

    def end(self) -> Status:
        found: Status = self.until(
            lambda message: isinstance(message, Status) and message.state == "ended"
        )
        return found

    @property
    def brain(self) -> psutil.Process:
        return self._child("python")

    @property
    def pipeline(self) -> psutil.Process:
        return self._child("gst-launch")

    def _child(self, name: str) -> psutil.Process:
        children = psutil.Process(self.process.pid).children()
        (child,) = [child for child in children if child.name().startswith(name)]
        return child

    def fault(self, code: str, cleared: bool = False) -> Fault:
        found: Fault = self.until(
            lambda message: (
                isinstance(message, Fault) and (message.code, message.cleared) == (code, cleared)
            )
        )
        return found

    def of(self, kind: type[Message]) -> list[Any]:
        return [message for _, message in self.heard if isinstance(message, kind)]

    def close(self) -> None:
        self.client.close()
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


Start = Callable[..., Run]


def noisy(path: Path, frames: int, rate_hz: float = 4.0) -> Path:
    """A video whose pictures all differ."""
    random = np.random.default_rng(frames)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), rate_hz, (64, 64))
    for _ in range(frames):
        coarse = random.integers(0, 255, (8, 8, 3), dtype=np.uint8)
        writer.write(cv2.resize(coarse, (64, 64)))
    writer.release()
    return path
