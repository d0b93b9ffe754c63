"""Devices that are lost, hang and come back, and samples of a device that is not as we want it."""

from __future__ import annotations

import io
import json
import os
import threading
import time
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from otter_robots.adapters.entry import Events
from otter_robots.errors import UserError
from otter_runtime.audio import ear as ears
from otter_runtime.audio import microphone as microphones
from otter_runtime.audio import synthesiser
from otter_runtime.audio.conversation import Heard
from otter_runtime.audio.ear import Ear, Typed
from otter_runtime.audio.microphone import Microphone
from otter_runtime.audio.patience import Patience
from otter_runtime.audio.sound import Device, Sound, Stream
from otter_runtime.audio.utterance import FRAME_BYTES, RATE_HZ, Segmenter
from otter_runtime.errors import SoundLost

VOICE, SILENCE = b"\x01" * FRAME_BYTES, bytes(FRAME_BYTES)
ANY = frozenset[str]()


class Scripted:
    """A microphone that gives these frames, then is lost."""

    overflows = 0

    def __init__(self, *frames: bytes) -> None:
        self._frames = list(frames)
        self.closed = False
        self.dropped = 0

    def read(self, patience_s: float) -> bytes | None:
        if not self._frames:
            raise SoundLost("gone")
        return self._frames.pop(0)

    def drop(self) -> None:
        self.dropped += 1

    def close(self) -> None:
        self.closed = True


def ear_of(*opened: Scripted | Exception) -> tuple[Ear, io.StringIO]:
    waiting = list(opened)

    def open_microphone() -> Any:
        one = waiting.pop(0)
        if isinstance(one, Exception):
            raise one
        return one

    said = io.StringIO()
    segmenter = Segmenter(lambda frame: frame == VOICE)

    def hear(pcm: bytes, _: frozenset[str]) -> Heard:
        return Heard(f"{len(pcm)}", 1.0)

    return Ear(open_microphone, segmenter, hear, Events(True, said)), said


def told(said: io.StringIO) -> list[str]:
    return [json.loads(line)["event"] for line in said.getvalue().splitlines()]


def test_a_lost_microphone_is_opened_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ears, "FIRST_WAIT_S", 0.01)
    utterance = [VOICE] * 10 + [SILENCE] * 20
    first, second = Scripted(*[VOICE] * 8), Scripted(*utterance)
    ear, said = ear_of(first, UserError("none"), SoundLost("hangs"), second)
    until_s = time.monotonic() + 30
    while (heard := ear.listen(0.05, ANY)) is None:
        assert time.monotonic() < until_s
    # The eight frames before the loss are no part of it.
    assert int(heard.words) <= len(utterance) * FRAME_BYTES
    assert first.closed
    assert told(said) == [
        "microphone-lost",
        "microphone-missing",
        "microphone-missing",
        "microphone-back",
    ]


def test_a_microphone_that_was_never_there_is_an_error() -> None:
    with pytest.raises(UserError, match="none"):
        ear_of(UserError("none"))


def test_what_is_heard_of_oneself_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ears, "ECHO_S", 0.0)
    microphone = Scripted(*[VOICE] * 10, *[SILENCE] * 30)
    ear, _ = ear_of(microphone)
    for _ in range(10):
        ear._frame(1.0) and ear._segmenter.hear(VOICE)
    assert ear.hearing
    ear.drop()
    assert not ear.hearing
    assert microphone.dropped == 1
    assert ear.listen(0.05, ANY) is None


class Opened:
    """A sound system whose only input has a rate and channels of its own."""

    def __init__(self, rate_hz: int, channels: int) -> None:
        self.raw = SimpleNamespace(is_active=lambda: True)
        self.format = rate_hz, channels
        self.hear: Any = None

    def open(self, wanted: str, kind: str, rate_hz: int, hear: Any) -> Stream:
        assert (wanted, kind, rate_hz) == ("usb", "input", RATE_HZ)
        self.hear = hear
        return Stream(self.raw, *self.format)


@pytest.mark.parametrize(("rate_hz", "channels"), [(16_000, 1), (48_000, 2), (44_100, 1)])
def test_a_device_of_another_rate_is_heard_as_it_sounds(rate_hz: int, channels: int) -> None:
    sound = Opened(rate_hz, channels)
    microphone = Microphone(sound, "usb")  # type: ignore[arg-type]
    tone = 8000 * np.sin(2 * np.pi * 500 * np.arange(rate_hz) / rate_hz)
    for block in np.array_split(np.repeat(tone.astype(np.int16), channels), 25 * channels):
        if channels == 2 and len(block) % 2:
            block = block[:-1]
        sound.hear(block.tobytes(), len(block), None, 0)
    frames = [frame for _ in range(40) if (frame := microphone.read(0.0)) is not None]
    samples = np.frombuffer(b"".join(frames), np.int16)[RATE_HZ // 10 :]
    assert len(samples) > 0.8 * RATE_HZ
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    assert abs(np.argmax(spectrum) * RATE_HZ / len(samples) - 500) < 3
    assert 7500 < np.abs(samples).max() < 8500


def test_a_device_that_falls_silent_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    sound = Opened(16_000, 1)
    microphone = Microphone(sound, "usb")  # type: ignore[arg-type]
    assert microphone.read(0.01) is None
    sound.raw.is_active = lambda: False
    with pytest.raises(SoundLost, match="unplugged"):
        microphone.read(0.01)
    sound.raw.is_active = lambda: True
    monkeypatch.setattr(microphones, "SILENT_S", 0.0)
    with pytest.raises(SoundLost, match="unplugged"):
        microphone.read(0.01)


def test_lost_blocks_are_counted() -> None:
    sound = Opened(16_000, 1)
    microphone = Microphone(sound, "usb")  # type: ignore[arg-type]
    sound.hear(VOICE, 480, None, 0)
    sound.hear(VOICE, 480, None, 2)  # PortAudio's paInputOverflow
    assert microphone.overflows == 1


def test_what_hangs_is_left_alone_until_it_is_over() -> None:
    over = threading.Event()
    patiently = Patience()
    with pytest.raises(SoundLost, match=r"did not answer within 0\.01 s"):
        patiently(over.wait, 0.01)
    with pytest.raises(SoundLost, match="still hangs"):
        patiently(lambda: 1, 0.01)
    over.set()
    assert patiently(lambda: 2, 30) == 2
    with pytest.raises(KeyError):
        patiently(lambda: dict[str, int]()["no"])


class Table(Sound):
    """Devices as PortAudio would list them; the default input is 2."""

    def __init__(self, *devices: Device) -> None:
        self._rows = list(devices)
        self._audio = None

    def devices(self) -> list[Device]:
        return self._rows

    def _default(self, able: list[Device], kind: Any) -> list[Device]:
        return [device for device in able if device.number == 2]


TABLE = Table(
    Device(0, "HDMI", 0, 2, 44_100),
    Device(1, "USB Headset", 1, 2, 48_000),
    Device(2, "USB Camera", 2, 0, 48_000),
)


def test_a_device_is_found_by_name_number_or_default() -> None:
    assert TABLE.find("headset", "input").number == 1
    assert TABLE.find("1", "output").number == 1
    assert TABLE.find("", "input").number == 2


@pytest.mark.parametrize(
    ("wanted", "kind", "said"),
    [
        ("usb", "input", "more than one microphone 'usb'; the machine has 1 .*, 2 "),
        ("hdmi", "input", "there is no microphone 'hdmi'; the machine has 1 .*--list"),
        ("0", "input", "there is no microphone '0'"),
        ("7", "output", "there is no loudspeaker '7'; the machine has 0 "),
        ("", "output", "there is no loudspeaker; "),
    ],
)
def test_a_device_that_is_not_there_is_a_sentence(wanted: str, kind: Any, said: str) -> None:
    with pytest.raises(UserError, match=said):
        TABLE.find(wanted, kind)


def test_espeak_that_is_missing_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(synthesiser, "ESPEAK", "no-such-espeak")
    with pytest.raises(UserError, match="apt-get install espeak-ng"):
        synthesiser.Synthesiser()


def test_typed_lines_are_heard_as_words() -> None:
    reading, writing = os.pipe()
    os.write(writing, "What should I do next?\nröm 7\nst".encode())
    with os.fdopen(reading) as file:
        ear = Typed(file)
        assert ear.listen(1.0, ANY) == Heard("what should i do next", 1.0)
        assert ear.listen(1.0, ANY) == Heard("", 1.0)
        assert ear.listen(0.01, ANY) is None
        os.write(writing, b"op")
        os.close(writing)
        found = [ear.listen(0.01, ANY) for _ in range(4)]
        assert [one for one in found if one] == [Heard("stop", 1.0)]
        assert ear.ended
