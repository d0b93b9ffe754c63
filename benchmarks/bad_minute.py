"""A minute in which much goes wrong, recorded, and its report; how docs/report.png is made.

    python benchmarks/bad_minute.py -o report.html [--picture docs/report.png] [--seconds 75]

The packaged clips are a live camera's pictures (motion JPEG over HTTP, from here) to a real
`otter-edge run --record`. The camera falls silent for a while, the model's process is killed, and
sensors, which are files written here, tell of heat that comes and goes; some questions are given
less time than an answer takes. What is injected is injected; what the runtime makes of it is real.
`--picture` shows the upper part of the page with Chromium.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
from outcome import Report, tell
from PIL import Image
from processes import brain_of

from otter_robots import endpoints
from otter_robots.client import Client
from otter_robots.messages import Answer
from otter_robots.topics import ANSWER
from otter_runtime.assembly import POCKET
from otter_runtime.errors import UserError
from otter_runtime.labels import Labels
from otter_runtime.pages.browser import photographed
from otter_runtime.sources import VideoFile
from otter_runtime.stage import running
from otter_runtime.trials.shelf import trials_in

CLIPS = POCKET.parent / "clip"
RATE_HZ = 8.0  # twice the window's
START_S = 120.0
SIZE = (1280, 1590)  # of the picture, in pixels
COLOURS = 256  # a third of the file, and nobody sees it
# When, as a share of the whole.
SILENT, KILLED, HEAT = (0.22, 0.30), 0.55, (0.35, 0.75)
COOL_C, HOT_C = 52.0, 86.0
CONFIG = """
ttl_ms: 400
window: {{rate_hz: 4}}
governor:
  root: {root}
  interval_s: 0.5
  dwell_s: 2
  ladder:
    - {{above_c: 70, rate_hz: 2}}
    - {{above_c: 80, rate_hz: 1, window_frames: 2}}
"""


class Camera:
    """The clips, one after the other and from the beginning again, as a stream; may be `silent`."""

    def __init__(self) -> None:
        self.clips = Labels.load(CLIPS).clips
        self._pictures = [_jpegs(CLIPS / clip.file) for clip in self.clips]
        self._begun_s = time.monotonic()
        self.silent = False
        camera = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
                self.end_headers()
                with contextlib.suppress(OSError):
                    while True:
                        camera.film(self)
                        time.sleep(1 / RATE_HZ)

            def log_message(self, format: str, *arguments: object) -> None:
                """Nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def address(self) -> str:
        """Where it streams."""
        return f"http://127.0.0.1:{self._server.server_port}/clips.mjpg"

    @property
    def clip(self) -> int:
        """Which one it shows."""
        return self._now()[0]

    def film(self, request: BaseHTTPRequestHandler) -> None:
        """The picture of this moment."""
        clip, frame = self._now()
        jpeg = self._pictures[clip][frame]
        if not self.silent:
            head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
            request.wfile.write(head.encode() + jpeg + b"\r\n")

    def close(self) -> None:
        """Go off."""
        self._server.shutdown()
        self._server.server_close()

    def _now(self) -> tuple[int, int]:
        lengths = [len(pictures) for pictures in self._pictures]
        place = round((time.monotonic() - self._begun_s) * self.clips[0].rate_hz) % sum(lengths)
        clip = 0
        while place >= lengths[clip]:
            place, clip = place - lengths[clip], clip + 1
        return clip, place


class Heat:
    """The sensors of a device below `root`."""

    def __init__(self, root: Path) -> None:
        self._zone = root / "sys/class/thermal/thermal_zone0"
        self._zone.mkdir(parents=True)
        (self._zone / "type").write_text("injected-thermal\n")
        self.tell(0.0)

    def tell(self, share: float) -> None:
        """The temperature at this share of the minute."""
        rise, fall = HEAT
        near = min(max((share - rise) / 0.15, 0.0), max((fall + 0.15 - share) / 0.15, 0.0), 1.0)
        whole = self._zone / "temp.new"
        whole.write_text(f"{1000 * (COOL_C + (HOT_C - COOL_C) * near):.0f}\n")
        whole.replace(self._zone / "temp")  # a sensor is never read half


def main(argv: list[str] | None = None) -> int:
    """Record, and write the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=75.0, metavar="S")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FILE")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="a PNG of its upper part")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep the trial here")
    args = parser.parse_args(argv)
    return tell(lambda: filmed(args), table, json_alone=False)


def filmed(args: argparse.Namespace) -> Report:
    """What the report tells of the minute; the report itself, and its picture, are in files."""
    with tempfile.TemporaryDirectory(prefix="otter-") as name:
        trial = recorded(Path(name), args.seconds, args.keep or Path(name) / "trials")
        command = [sys.executable, "-m", "otter_runtime", "report", str(trial), "--json"]
        done = subprocess.run(
            [*command, "-o", str(args.output)], check=True, stdout=subprocess.PIPE, text=True
        )
    if args.picture:
        photographed(args.output, args.picture, SIZE)
        with Image.open(args.picture) as shown:
            shown.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE).save(
                args.picture, optimize=True
            )
    facts = json.loads(done.stdout)
    return {"counts": facts["counts"], "troubles": facts["troubles"]}


def table(told: Report) -> str:
    """The report for people, in a line."""
    return f"{told['counts']['answered']} answers, {len(told['troubles'])} troubles"


def recorded(folder: Path, seconds: float, trials: Path) -> Path:
    """A trial of so many seconds; its folder."""
    camera, heat = Camera(), Heat(folder / "root")
    config = folder / "run.yaml"
    config.write_text(CONFIG.format(root=folder / "root"))
    words = ["--source", camera.address, "--record", str(trials), "--config", str(config)]
    words += ["--threads", "1"]
    stream, requests = endpoints.stream_endpoint(folder), endpoints.requests_endpoint(folder)
    with running(words, folder) as run, Client(stream, requests, "bad-minute") as bus:
        bus.subscribe([ANSWER])
        clip = camera.clip
        run.wait_for("answer", partial(_answers, bus, camera), START_S)
        begun_s, killed, asked = time.monotonic(), False, 0
        while (share := (time.monotonic() - begun_s) / seconds) < 1:
            heat.tell(share)
            camera.silent = SILENT[0] < share < SILENT[1]
            if share > KILLED and not killed and (brain := brain_of(run.pid)):
                killed = True
                os.kill(brain, signal.SIGKILL)
            if camera.clip != clip:
                clip = camera.clip
                bus.instruct(camera.clips[clip].instruction, 0.5)
            if share * seconds > 4 * (asked + 1):
                asked += 1
                deadline_s = 0.004 if asked % 5 == 0 else 2.0
                with contextlib.suppress(UserError):
                    bus.ask(camera.clips[clip].instruction, deadline_s)
            time.sleep(0.1)
    camera.close()
    return trials_in(trials)[-1]


def _answers(bus: Client, camera: Camera) -> bool:
    """Whether it answers what it is instructed."""
    bus.instruct(camera.clips[camera.clip].instruction, 0.5)
    item = bus.receive(2.0)
    return item is not None and isinstance(item[1], Answer)


def _jpegs(path: Path) -> list[bytes]:
    reader = VideoFile(path)
    pictures = [pixels for pixels in reader.pictures() if pixels is not None]
    reader.close()
    bgr = [cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR) for pixels in pictures]
    return [cv2.imencode(".jpg", one, [cv2.IMWRITE_JPEG_QUALITY, 92])[1].tobytes() for one in bgr]


if __name__ == "__main__":
    sys.exit(main())
