"""A camera whose pictures a test makes, one by one: a FIFO that a pipeline of GStreamer films."""

from __future__ import annotations

import contextlib
import io
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from otter_runtime.frame import Pixels

HEIGHT, WIDTH, RATE_HZ = 48, 64, 20
RANDOM = np.random.default_rng(3)


def noise() -> Pixels:
    """Another picture each time."""
    return RANDOM.integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8)


def grey(level: int) -> Pixels:
    """The same picture each time."""
    return np.full((HEIGHT, WIDTH, 3), level, np.uint8)


class Filmed:
    """Writes what `film` gives, RATE_HZ times a second, to whoever opened the FIFO last."""

    def __init__(self, folder: Path, film: Callable[[], Pixels] = noise) -> None:
        self.film = film
        self.path = folder / "filmed"
        os.mkfifo(self.path)
        self.source = (
            f"gst: filesrc location={self.path} ! rawvideoparse format=rgb width={WIDTH} "
            f"height={HEIGHT} framerate={RATE_HZ}/1"
        )
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        while self.path.exists():
            # Without a reader there is nothing to open, and one that leaves breaks the pipe.
            with contextlib.suppress(OSError), self._opened() as pipe:
                while True:
                    pipe.write(self.film().tobytes())
                    time.sleep(1 / RATE_HZ)
            time.sleep(0.01)

    def _opened(self) -> io.FileIO:
        descriptor = os.open(self.path, os.O_WRONLY | os.O_NONBLOCK)
        os.set_blocking(descriptor, True)
        return io.FileIO(descriptor, "wb")
