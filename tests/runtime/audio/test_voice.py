"""The real thing: a run of the bundled model, `otter-edge voice`, and a room of virtual sound.

pytest -m slow tests/runtime/audio/test_voice.py
"""

from __future__ import annotations

import json
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.runtime.audio.virtual_sound import (
    RATE_HZ,
    VirtualSound,
    missing,
    samples,
    virtual_sound,
)

import otter_runtime
from otter_robots import endpoints
from otter_robots.client import Client
from otter_robots.messages import Answer, Command, Message, Status
from otter_robots.topics import ANSWER, COMMAND, STATUS
from otter_runtime.audio.phrases import Phrases
from otter_runtime.audio.resampler import Resampler
from otter_runtime.audio.synthesiser import Synthesiser

POCKET = Path(otter_runtime.__file__).parent / "pocket"
LIMIT_S = 90.0

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(missing()), reason=missing())]


class Voice:
    """`otter-edge voice --json` as a process, and its events."""

    def __init__(self, sound: VirtualSound, folder: Path, *words: str) -> None:
        command = [sys.executable, "-m", "otter_runtime", "voice", "--json"]
        self.process = subprocess.Popen(
            [*command, "--folder", str(folder), *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=sound.env,
        )
        self.events: list[dict[str, Any]] = []
        self._lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def until(self, event: str, **fields: object) -> dict[str, Any]:
        """The next event of this kind with these fields."""
        until_s = time.monotonic() + LIMIT_S
        while time.monotonic() < until_s:
            try:
                found = json.loads(self._lines.get(timeout=0.5))
            except queue.Empty:
                assert self.process.poll() is None, (
                    self.process.stderr and self.process.stderr.read()
                )
                continue
            self.events.append(found)
            if found["event"] == event and all(found[name] == fields[name] for name in fields):
                return dict(found)
        raise AssertionError(f"no {event} {fields}; {self.events}")

    def close(self) -> None:
        self.process.terminate()
        assert self.process.wait(LIMIT_S) == 0
        for pipe in (self.process.stdout, self.process.stderr):
            assert pipe is not None
            pipe.close()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line)


@pytest.fixture
def sound() -> Iterator[VirtualSound]:
    with virtual_sound() as made:
        yield made


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="otter-test-") as name:
        yield Path(name)


@pytest.fixture
def running(folder: Path) -> Iterator[Client]:
    """A run of the bundled model on its clips, over and over; a client that hears everything."""
    clips = [str(POCKET / "clip" / f"episode-{number}.avi") for number in range(4)] * 4
    command = [sys.executable, "-m", "otter_runtime", "run", "--folder", str(folder)]
    with Client(endpoints.stream_endpoint(folder), endpoints.requests_endpoint(folder)) as bus:
        bus.subscribe([ANSWER, COMMAND, STATUS])
        process = subprocess.Popen([*command, "--source", *clips], stdout=subprocess.DEVNULL)
        try:
            until(bus, lambda message: isinstance(message, Status) and message.state == "running")
            yield bus
        finally:
            process.terminate()
            process.wait(LIMIT_S)


def say(sound: VirtualSound, voice: Voice, words: str) -> None:
    """Until it is understood, as people do: on a busy machine the virtual room has gaps."""
    for _ in range(3):
        sound.speak(words)
        heard = voice.until("heard")
        if heard["words"] == words and heard["score"] >= Phrases().score:
            return
    raise AssertionError(f"{words} is not understood: {voice.events}")


def until(bus: Client, wanted: Any) -> Message:
    until_s = time.monotonic() + LIMIT_S
    while time.monotonic() < until_s:
        item = bus.receive(0.5)
        if item is not None and wanted(item[1]):
            return item[1]
    raise AssertionError("not heard")


def test_a_spoken_question_is_answered_by_voice(
    sound: VirtualSound, folder: Path, running: Client, tmp_path: Path
) -> None:
    voice = Voice(sound, folder)
    voice.until("listening")
    with sound.recording(tmp_path / "heard.wav"):
        say(sound, voice, "what should i do next")
        voice.until("asked", question="What should I do next?")
        said = voice.until("said")["text"]
        answer = until(running, lambda m: isinstance(m, Answer) and m.question_id is not None)
        assert isinstance(answer, Answer)
        assert said == answer.text
        voice.until("listening")
    voice.close()
    heard, clip = samples(tmp_path / "heard.wav"), Synthesiser()(said)
    assert likeness(heard, Resampler(clip.rate_hz, RATE_HZ)(clip.samples)) > 0.8
    assert likeness(heard, Resampler(clip.rate_hz, RATE_HZ)(Synthesiser()("Yes.").samples)) < 0.5


def likeness(heard: NDArray[np.int16], said: NDArray[np.int16]) -> float:
    """The correlation of what was said with the stretch of what was heard that is most like it."""
    length = len(heard) + len(said)
    spectrum = np.fft.rfft(heard, length) * np.conj(np.fft.rfft(said, length))
    found = np.fft.irfft(spectrum, length)
    at = int(np.argmax(found[: len(heard)]))
    stretch = heard[at : at + len(said)].astype(float)
    return float(found[at] / (np.linalg.norm(stretch) * np.linalg.norm(said.astype(float)) + 1))


def test_a_spoken_stop_reaches_the_robots_and_an_order_waits_for_a_yes(
    sound: VirtualSound, folder: Path, running: Client
) -> None:
    voice = Voice(sound, folder)
    voice.until("listening")
    sound.speak("stop now")
    stop = until(running, lambda message: isinstance(message, Command))
    assert isinstance(stop, Command)
    assert stop.name == "stop"
    voice.until("listening")
    say(sound, voice, "go to the red box")
    assert "go to the red box" in voice.until("said")["text"]
    voice.until("listening")
    sound.speak("yes please")
    voice.until("ordered", instruction="Go to the red box. What should I do next?")
    voice.close()


def test_what_it_says_itself_it_does_not_hear(sound: VirtualSound, folder: Path) -> None:
    # The loudspeaker is in the room: everything that is said comes back through the microphone.
    sound.env["PULSE_SINK"] = "room"
    voice = Voice(sound, folder)
    voice.until("listening")
    say(sound, voice, "go to the red box")
    voice.until("said", text="Did you say: go to the red box? Yes, or no?")
    voice.until("listening")
    voice.until("said", text="I heard no yes, so nothing is done.")
    heard = {one["words"] for one in voice.events if one["event"] == "heard"}
    assert heard == {"go to the red box"}
    voice.close()


def test_a_sound_system_that_dies_is_found_again(sound: VirtualSound, folder: Path) -> None:
    voice = Voice(sound, folder)
    voice.until("listening")
    sound.end()
    voice.until("microphone-lost")
    voice.until("microphone-missing")
    sound.begin()
    voice.until("microphone-back")
    say(sound, voice, "what should i do next")
    voice.until("unanswered")  # there is no run
    voice.close()


def test_a_sound_system_that_hangs_hangs_nobody(sound: VirtualSound, folder: Path) -> None:
    assert sound.server is not None
    voice = Voice(sound, folder)
    voice.until("listening")
    sound.server.send_signal(signal.SIGSTOP)
    voice.until("microphone-lost")
    voice.until("microphone-hangs")
    voice.until("microphone-missing")
    sound.server.send_signal(signal.SIGCONT)
    voice.until("microphone-back")
    say(sound, voice, "what should i do next")
    voice.close()
