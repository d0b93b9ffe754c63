"""The examples of a camera and a display elsewhere, with keys, around a real `otter-edge run`."""

from __future__ import annotations

import importlib
import io
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

EXAMPLES = Path(__file__).parents[2] / "robots" / "examples"
PATIENCE_S = 300.0


def jpegs(count: int) -> list[bytes]:
    """Different pictures of noise, as a camera's are."""
    random = np.random.default_rng()
    frames = random.integers(30, 255, (count, 48, 64, 3), np.uint8)
    return [cv2.imencode(".jpg", frame)[1].tobytes() for frame in frames]


def start(said: Path, *words: str) -> subprocess.Popen[bytes]:
    """A Python program that says into `said`, and hears what is written to its standard input."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with said.open("wb") as out:
        command = [sys.executable, *words]
        return subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=out)


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def test_a_picture_is_found_in_any_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    camera = importlib.import_module("camera")
    wanted = jpegs(3)
    stream = b"--frame\r\nContent-Type: image/jpeg\r\n\r\n".join([b"", *wanted, b"--end"])
    assert list(camera.pictures(io.BufferedReader(io.BytesIO(stream)))) == wanted
    assert list(camera.pictures(io.BufferedReader(io.BytesIO(wanted[0][:-2])))) == []


def test_a_camera_and_a_display_with_keys(tmp_path: Path) -> None:
    """Pictures go in by the one, the plan comes out of the other, both over tcp with keys."""
    keys, shown = tmp_path / "keys", tmp_path / "shown"
    for name, right in (("camera", "command"), ("tablet", "observe")):
        make = ["-m", "otter_runtime", "keys", "make", name, "--allow", right, "--keys", str(keys)]
        subprocess.run([sys.executable, *make], check=True, stdout=subprocess.DEVNULL)
    config = tmp_path / "run.yaml"
    config.write_text("ttl_ms: 60000\nstale_ms: 60000\nsilent_ms: 60000\n")
    addresses = [f"tcp://127.0.0.1:{free_port()}" for _ in range(2)]
    bus = ["--stream", addresses[0], "--requests", addresses[1]]
    run = ["-m", "otter_runtime", "run", "--source", "bus", "--instruction", "What now?", *bus]
    run += ["--keys", str(keys), "--folder", str(tmp_path), "--config", str(config)]
    camera = [str(EXAMPLES / "camera.py"), "-", *bus, "--key", str(keys / "camera.client")]
    display = [str(EXAMPLES / "display.py"), *bus, "--key", str(keys / "tablet.client")]
    processes = [
        start(tmp_path / "run", *run, "--threads", "1"),
        start(shown, *display),
        start(tmp_path / "camera", *camera),
    ]
    stdin = processes[-1].stdin
    assert stdin is not None
    try:
        end_s = time.monotonic() + PATIENCE_S
        while not plans(shown.read_text()):
            assert time.monotonic() < end_s, shown.read_text()
            for picture in jpegs(4):
                stdin.write(picture)
                stdin.flush()
                time.sleep(0.1)
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def plans(shown: str) -> list[str]:
    """The lines that are plans: all but what waits and what is wrong."""
    return [line for line in shown.splitlines() if not line.startswith(("…", "("))]
