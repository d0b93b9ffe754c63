"""A sound server without hardware: what is played into `room` is what the microphone hears, and
what the loudspeaker plays can be recorded.

PulseAudio of our own, with a socket of its own, so that nobody's is touched.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
import wave
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

LIMIT_S = 30.0
RATE_HZ = 16_000
PROGRAMS = ("pulseaudio", "paplay", "parec", "pactl", "espeak-ng")


def missing() -> str:
    """Why there can be none here; empty where there can."""
    absent = [name for name in PROGRAMS if shutil.which(name) is None]
    for package in ("pyaudio", "pocketsphinx"):
        try:
            with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
                __import__(package)
        except ImportError:
            absent.append(package)
    return f"not installed: {', '.join(absent)}" if absent else ""


class VirtualSound:
    """Two null sinks: `room`, whose monitor is the microphone, and `speaker`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._socket = folder / "socket"
        self.env = {
            **os.environ,
            "HOME": str(folder),
            "XDG_RUNTIME_DIR": str(folder),
            "PULSE_SERVER": f"unix:{self._socket}",
            "PULSE_SINK": "speaker",
            "PULSE_SOURCE": "room.monitor",
        }
        self.server: subprocess.Popen[bytes] | None = None

    def begin(self) -> None:
        """Start the server, and wait until it serves."""
        sinks = "".join(
            f"load-module module-null-sink sink_name={name} rate={RATE_HZ} channels=1 "
            "format=s16le\n"
            for name in ("speaker", "room")
        )
        socket = f"load-module module-native-protocol-unix socket={self._socket} auth-anonymous=1\n"
        (self._folder / "default.pa").write_text(socket + sinks)
        options = ["-n", "-F", str(self._folder / "default.pa"), "--exit-idle-time=-1"]
        self.server = subprocess.Popen(
            ["pulseaudio", *options, "--use-pid-file=no", "--daemonize=no"],
            env=self.env,
            stderr=subprocess.DEVNULL,
        )
        until_s = time.monotonic() + LIMIT_S
        while self._call("pactl", "info").returncode:
            assert time.monotonic() < until_s, "PulseAudio does not serve"
            time.sleep(0.1)

    def end(self) -> None:
        """As if everything had been unplugged."""
        if self.server is not None:
            self.server.kill()
            self.server.wait()
        self._socket.unlink(missing_ok=True)

    def speak(self, text: str, voice: str = "en-us", speed: int = 150) -> None:
        """Somebody in the room says this; returns when it was said."""
        file = self._folder / "said.wav"
        command = ["espeak-ng", "-v", voice, "-s", str(speed), "-w", str(file), text]
        subprocess.run(command, check=True, timeout=LIMIT_S)
        # Without a latency paplay fills 2 s ahead, and the monitor comes in bursts of that; with a
        # short one a busy machine says it with gaps.
        done = self._call("paplay", "--latency-msec=200", "--device=room", str(file))
        assert not done.returncode, done.stderr

    @contextlib.contextmanager
    def recording(self, path: Path) -> Iterator[None]:
        """What the loudspeaker plays meanwhile, as a WAV file."""
        options = ["--device=speaker.monitor", "--latency-msec=40", "--file-format=wav"]
        format = ["--rate=16000", "--channels=1", "--format=s16le"]
        recorder = subprocess.Popen(["parec", *options, *format, str(path)], env=self.env)
        try:
            until_s = time.monotonic() + LIMIT_S
            while not path.exists() or path.stat().st_size < RATE_HZ // 10:
                assert time.monotonic() < until_s, "nothing is recorded"
                time.sleep(0.05)
            yield
        finally:
            recorder.terminate()
            recorder.wait(LIMIT_S)

    def _call(self, *command: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            command, env=self.env, capture_output=True, timeout=LIMIT_S, check=False
        )


@contextlib.contextmanager
def virtual_sound() -> Iterator[VirtualSound]:
    """A server, until the end of the block."""
    with tempfile.TemporaryDirectory(prefix="otter-sound-") as name:
        sound = VirtualSound(Path(name))
        try:
            sound.begin()
            yield sound
        finally:
            sound.end()


def samples(path: Path) -> NDArray[np.int16]:
    """Of a mono WAV file."""
    with wave.open(str(path)) as file:
        return np.frombuffer(file.readframes(file.getnframes()), np.int16)
