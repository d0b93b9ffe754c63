"""The thread that keeps a source drained, so that the newest frame is what counts.

It knows readers and clocks; it does not know what frames are for. In real time a frame that
nobody took is replaced by the next one and counted; in lock-step (`fast`) the reader waits until
its frame was taken, so that every frame is seen and a run repeats itself exactly.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from otter_runtime.errors import CameraLost, OtterError
from otter_runtime.frame import Frame, Pixels, Stamp
from otter_runtime.sources import Reader, Spec

REOPEN_S = (0.5, 1.0, 2.0, 5.0)  # waits between attempts to get a lost camera back
JOIN_S = 2.0


@dataclass(frozen=True)
class Scene:
    """A stretch of frames that belong together: one file, or one opening of a camera."""

    number: int
    source: str
    rate_hz: float
    first_id: int


class Drain:
    """Reads sources one after the other in a thread of its own."""

    def __init__(
        self,
        sources: Sequence[Spec],
        fast: bool = False,
        speed: float = 1.0,
        latency_ms: float = 0.0,
    ) -> None:
        """`latency_ms` is what a live source's pictures are old when they arrive here."""
        self.sources = list(sources)
        self.fast = fast
        self.speed = speed
        self._latency_ns = round(latency_ms * 1e6)
        self.scenes: list[Scene] = []
        self.dropped = 0  # frames that were replaced before anybody took them
        self.damaged = 0  # pictures that could not be decoded, or changed their size
        self.trouble = ""  # why a live source gives nothing just now
        self._wake, self._woken = socket.socketpair()
        for end in (self._wake, self._woken):
            end.setblocking(False)
        self._next_id = 0
        self._lost_scenes = 0  # those that began before the trouble did
        self._newest: Frame | None = None
        self._taken = threading.Condition()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="drain", daemon=True)

    @property
    def live(self) -> bool:
        """Whether the last source is a camera: then there is no end."""
        return bool(self.sources) and self.sources[-1].live

    def start(self) -> None:
        """Begin to read; the first frame of a recording is due now."""
        self._thread.start()

    def descriptors(self) -> list[int]:
        """What is readable when there is a frame to take, or the end to notice."""
        return [] if self.ended else [self._woken.fileno()]

    def take(self) -> Frame | None:
        """The newest frame that was not taken yet, or None; never waits."""
        with contextlib.suppress(BlockingIOError):
            while self._woken.recv(64):
                pass
        with self._taken:
            frame, self._newest = self._newest, None
            if frame is not None and frame.stamp.scene >= self._lost_scenes:
                self.trouble = ""  # over with the first frame, not before
            self._taken.notify()
        return frame

    @property
    def ended(self) -> bool:
        """Whether every source is played out and its last frame taken."""
        started = self._thread.ident is not None
        return started and not self._thread.is_alive() and self._newest is None

    def close(self) -> None:
        """Stop reading. A driver that hangs keeps its thread, and nothing else."""
        self._stop.set()
        with self._taken:
            self._taken.notify()
        if self._thread.ident is not None:
            self._thread.join(JOIN_S)
        self._wake.close()
        self._woken.close()

    def _run(self) -> None:
        for spec in self.sources:
            for reader in self._openings(spec):
                why = self._play(reader)
                reader.close()
                if spec.live and not self._stop.is_set():
                    self._lost(why)
                if self._stop.is_set():
                    return
        self._notify()

    def _openings(self, spec: Spec) -> Iterator[Reader]:
        attempts = 0
        while not self._stop.is_set():
            try:
                reader = spec.open()
            except OtterError as error:
                self._lost(str(error))
            else:
                opened_ns = time.monotonic_ns()
                yield reader
                if not spec.live or self._stop.is_set():
                    return
                # One that works for a while is worth a quick first attempt again.
                attempts = 0 if time.monotonic_ns() - opened_ns > 5e9 else attempts
            if not spec.live:
                return
            self._stop.wait(REOPEN_S[min(attempts, len(REOPEN_S) - 1)])
            attempts += 1

    def _notify(self) -> None:
        # Full means that the front has not looked yet, closed that it never will.
        with contextlib.suppress(OSError):
            self._wake.send(b"!")

    def _lost(self, why: str) -> None:
        with self._taken:
            self.trouble, self._lost_scenes = why, len(self.scenes)
        self._notify()

    def _play(self, reader: Reader) -> str:
        """Put out one opening's frames at their times; why there are no more."""
        try:
            return self._put_all(reader)
        except CameraLost as error:
            return str(error)

    def _put_all(self, reader: Reader) -> str:
        scene = Scene(len(self.scenes), reader.name, reader.rate_hz, self._next_id)
        self.scenes.append(scene)
        period_ns = 1e9 / scene.rate_hz
        started_ns = time.monotonic_ns()
        for index, pixels in enumerate(self._pictures(reader)):
            stream_ns = round(index * period_ns)
            if not reader.live and not self.fast:
                self._sleep_until(started_ns + round(stream_ns / self.speed))
            if self._stop.is_set():
                return ""
            self._next_id += 1
            if pixels is None:
                self.damaged += 1
                continue
            if reader.live:
                stream_ns = time.monotonic_ns() - started_ns
            latency_ns = self._latency_ns if reader.live else 0
            self._put(Frame(_stamp(scene, index, stream_ns, latency_ns), pixels))
        return f"{reader.name} stopped giving frames"

    def _pictures(self, reader: Reader) -> Iterator[Pixels | None]:
        """A reader's pictures; raises CameraLost where a live one's change their size."""
        first: Pixels | None = None
        for pixels in reader.pictures():
            if reader.live and pixels is not None:
                first = pixels if first is None else first
                if pixels.shape != first.shape:
                    self.damaged += 1
                    now, before = _size(pixels), _size(first)
                    raise CameraLost(f"{reader.name} gives {now} pictures, it began with {before}")
            yield pixels

    def _put(self, frame: Frame) -> None:
        with self._taken:
            self.dropped += self._newest is not None
            self._newest = frame
        self._notify()
        with self._taken:
            while self.fast and self._newest is frame and not self._stop.is_set():
                self._taken.wait(0.5)

    def _sleep_until(self, mono_ns: int) -> None:
        wait_ns = mono_ns - time.monotonic_ns()
        if wait_ns > 0:
            self._stop.wait(wait_ns / 1e9)


def _stamp(scene: Scene, index: int, stream_ns: int, latency_ns: int) -> Stamp:
    """Of a frame that arrives now and was captured `latency_ns` before."""
    return Stamp(
        id=scene.first_id + index,
        scene=scene.number,
        source=scene.source,
        index=index,
        stream_ns=stream_ns,
        mono_ns=time.monotonic_ns() - latency_ns,
        wall_ns=time.time_ns() - latency_ns,
    )


def _size(pixels: Pixels) -> str:
    height, width, _ = pixels.shape
    return f"{width}x{height}"
