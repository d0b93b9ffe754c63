"""A day of a runtime, lived fast: frames, questions, exemplars, and what goes wrong now and then.

It reaches the runtime over the bus, and its brain by signals; it knows nothing of what is measured
beyond the samples that it takes.
"""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path

import cv2
import numpy as np
from processes import Footprint, brain_of, footprint

import otter_runtime
from otter_robots.client import Client
from otter_robots.errors import NoAnswer, NobodyListening, UserError
from otter_robots.messages import Abstain, Answer, Exemplar, Health, Image, Picture
from otter_runtime.frame import Pixels
from otter_runtime.labels import Labels
from otter_runtime.percentile import spread
from otter_runtime.sources import specs
from otter_runtime.stage import Run

CLIP = Path(otter_runtime.__file__).parent / "pocket" / "clip"
RATE_HZ = 4.0
QUESTIONS = ("Can you see the red box?", "What is nearest to you?", "Where is the blue pillar?")
ASK_EVERY, PIN_EVERY = 10, 97  # frames
BLACK_FRAMES, SILENT_S = 20, 2.6
PATIENCE_S = 120.0  # until it answers again, on a machine that does much else


@dataclass(frozen=True)
class Sample:
    """The state at one moment; latencies, in ms, are of the questions since the last one."""

    at_s: float
    frames: int
    front: Footprint
    brain: Footprint
    answer_ms: dict[str, float]


@dataclass
class Stream:
    """The clips as files, for ever: every picture has a number, every round of a clip a scene."""

    clips: list[list[bytes]]
    side: int
    number: int = -1
    scene: int = 0
    _files: Iterator[tuple[int, bytes]] | None = None

    def next(self, file: bytes | None = None) -> tuple[Picture, bytes]:
        """The next picture and its file, or `file` in its place."""
        self._files = self._files or self._endless()
        self.scene, own = next(self._files)
        self.number += 1
        picture = Picture(
            number=self.number,
            width=self.side,
            height=self.side,
            encoding="jpeg",
            taken_ns=round(self.number * 1e9 / RATE_HZ),
            scene=self.scene,
            source="soak",
        )
        return picture, own if file is None else file

    def _endless(self) -> Iterator[tuple[int, bytes]]:
        for scene, clip in enumerate(cycle(self.clips)):
            for file in clip:
                yield scene, file


def stream() -> Stream:
    """The demo's clips."""
    films = [pictures(clip) for clip in clip_files()]
    return Stream([[jpeg(one) for one in film] for film in films], films[0][0].shape[0])


def clip_files() -> list[Path]:
    """Where the demo's clips lie."""
    return [CLIP / clip.file for clip in Labels.load(CLIP).clips]


def pictures(*files: Path) -> list[Pixels]:
    """The pictures (height, width, 3) RGB of some videos, or of all clips."""
    films = [one.open() for one in specs([str(file) for file in files or clip_files()], RATE_HZ)]
    shown = [picture for film in films for picture in film.pictures() if picture is not None]
    for film in films:
        film.close()
    return shown


def jpeg(picture: Pixels) -> bytes:
    """A picture (height, width, 3) RGB as a file."""
    return cv2.imencode(".jpg", np.ascontiguousarray(picture[..., ::-1]))[1].tobytes()


@dataclass
class Soak:
    """One run, and everybody who has to do with it; `bus` is all that reaches it but signals."""

    run: Run
    bus: Client
    stream: Stream
    begun_s: float = field(default_factory=time.monotonic)
    samples: list[Sample] = field(default_factory=list)
    faults: list[tuple[float, str, float]] = field(default_factory=list)  # when, what, back after
    replies: Counter[str] = field(default_factory=Counter)
    latencies_ms: list[float] = field(default_factory=list)
    _recent_ms: list[float] = field(default_factory=list)

    @property
    def now_s(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self.begun_s

    def round(self, number: int) -> None:
        """One frame, and what else is due with it."""
        self.push()
        if number % ASK_EVERY == 0:
            self.ask(QUESTIONS[number // ASK_EVERY % len(QUESTIONS)])
        if number % PIN_EVERY == 0:
            self.pin(number // PIN_EVERY)

    def push(self, file: bytes | None = None) -> None:
        """Push the next frame; one that is refused counts as such."""
        try:
            self.bus.push(*self.stream.next(file))
        except NobodyListening:
            raise
        except UserError:
            self.replies["refused"] += 1

    def ask(self, question: str) -> Answer | Abstain | None:
        """Ask about the newest frame; None where the brain was lost over it."""
        began_s = time.monotonic()
        try:
            reply = self.bus.ask(question, PATIENCE_S, frame=self.stream.number)
        except NoAnswer:
            self.replies["none"] += 1
            return None
        if isinstance(reply, Answer):
            took_ms = 1e3 * (time.monotonic() - began_s)
            self.latencies_ms.append(took_ms)
            self._recent_ms.append(took_ms)
        self.replies[reply.reason if isinstance(reply, Abstain) else "answered"] += 1
        return reply

    def pin(self, number: int) -> None:
        """Exemplars come and go: one of two names, and all forgotten every fifth time."""
        if number % 5 == 0:
            self.bus.forget()
            return
        picture, file = self.stream.next()
        exemplar = Exemplar(
            id=f"example-{number % 2}",
            instruction="Can you see the green box?",
            answer="No.",
            images=(Image(width=picture.width, height=picture.height),),
        )
        try:
            self.bus.pin(exemplar, [file], PATIENCE_S)
        except UserError:
            self.replies["exemplar refused"] += 1

    def harm(self, what: str) -> None:
        """Let something go wrong, and wait until it answers again."""
        began_s = self.now_s
        HARMS[what](self)
        self.await_answer(f"answer after: {what}", PATIENCE_S)
        self.faults.append((began_s, what, self.now_s - began_s))

    def await_answer(self, what: str, patience_s: float) -> None:
        """Push and ask until there is an answer."""

        def answered() -> bool:
            self.push()
            return isinstance(self.ask(QUESTIONS[0]), Answer)

        self.run.wait_for(what, answered, patience_s)

    def signal_brain(self, number: signal.Signals) -> None:
        """Send it to the brain, where there is one."""
        pid = brain_of(self.run.pid)
        if pid is not None:
            os.kill(pid, number)

    def blacken(self) -> None:
        """Black pictures for a while."""
        black = jpeg(np.zeros((self.stream.side, self.stream.side, 3), np.uint8))
        for _ in range(BLACK_FRAMES):
            self.push(black)
        self.ask(QUESTIONS[0])

    def cut(self) -> None:
        """A picture that is cut off; the runtime refuses it."""
        _, file = self.stream.next()
        self.push(file[: len(file) // 2])

    def fall_silent(self) -> None:
        """No pictures for longer than one may be old."""
        time.sleep(SILENT_S)
        self.ask(QUESTIONS[0])

    def sample(self) -> Sample:
        """Note what both processes take, and how the last questions were answered."""
        _, health = self.bus.snapshot().get("health", (None, None))
        frames = health.frames if isinstance(health, Health) else 0
        one = Sample(
            at_s=round(self.now_s, 2),
            frames=frames,
            front=footprint(self.run.pid),
            brain=footprint(brain_of(self.run.pid) or 0),
            answer_ms=spread(self._recent_ms),
        )
        self.samples.append(one)
        self._recent_ms = []
        return one


HARMS: dict[str, Callable[[Soak], None]] = {
    "the brain is killed": lambda soak: soak.signal_brain(signal.SIGKILL),
    "pictures are black": Soak.blacken,
    "the brain is stopped": lambda soak: soak.signal_brain(signal.SIGSTOP),
    "a picture is cut off": Soak.cut,
    "no pictures come": Soak.fall_silent,
}
