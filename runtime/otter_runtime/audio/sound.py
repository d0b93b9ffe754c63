"""This machine's sound devices through PyAudio: which there are, and streams of them.

PortAudio looks for devices only when it begins, so that after a loss everything is begun anew. It
knows samples of 16 bits, not what they mean.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from typing import Any, Literal, NamedTuple, TypeVar

from otter_runtime.audio.patience import ACT_S, Patience
from otter_runtime.errors import SoundLost, UserError

Kind = Literal["input", "output"]
Given = TypeVar("Given")
# PortAudio's buffers are a few blocks. On a busy machine small ones have gaps.
BLOCK_MS: dict[Kind, int] = {"input": 60, "output": 250}
NAMES: dict[Kind, str] = {"input": "microphone", "output": "loudspeaker"}


class Device(NamedTuple):
    """One row of PortAudio's table; channels are 0 where it cannot be heard or speak."""

    number: int
    name: str
    inputs: int
    outputs: int
    rate_hz: int

    def channels(self, kind: Kind) -> int:
        """How many it has of this kind."""
        return self.inputs if kind == "input" else self.outputs


class Stream(NamedTuple):
    """An open stream of PyAudio's, and how its samples come."""

    raw: Any
    rate_hz: int
    channels: int


class Sound:
    """PortAudio, begun; raises UserError where PyAudio cannot be loaded, SoundLost."""

    def __init__(self) -> None:
        self._patiently = Patience()
        self._audio: Any = None
        self._begin()

    def devices(self) -> list[Device]:
        """Every device, in PortAudio's order."""
        return self._within(self._devices)

    def find(self, wanted: str, kind: Kind) -> Device:
        """By number, by a part of its name, or the default where nothing is wanted.

        Raises UserError where there is none, or more than one.
        """
        able = [device for device in self.devices() if device.channels(kind)]
        found = _matching(able, wanted) if wanted else self._default(able, kind)
        if len(found) == 1:
            return found[0]
        some = ", ".join(f"{device.number} {device.name!r}" for device in found or able)
        what = f"{NAMES[kind]} {wanted!r}" if wanted else f"{NAMES[kind]}"
        raise UserError(
            f"there is {'more than one' if found else 'no'} {what}; the machine has "
            f"{some or 'none'}; plug one in or choose one of `otter-edge voice --list`"
        )

    def open(
        self, wanted: str, kind: Kind, rate_hz: int, hear: Callable[..., Any] | None = None
    ) -> Stream:
        """A stream at `rate_hz` mono if the device can, else at a rate and channels of its own.

        An input's blocks go to `hear`, in PortAudio's thread. Raises UserError and SoundLost.
        """
        device = self.find(wanted, kind)
        return self._within(lambda: self._open(device, kind, rate_hz, hear))

    def write(self, stream: Stream, pcm: bytes, seconds: float) -> None:
        """Play to the end, which takes `seconds`; raises SoundLost."""

        def play() -> None:
            stream.raw.write(pcm)
            stream.raw.stop_stream()  # returns once all was played

        self._within(play, seconds + ACT_S)

    def close(self, stream: Stream) -> None:
        """Close a stream; raises SoundLost where the sound system hangs."""
        self._within(stream.raw.close)

    def renew(self) -> None:
        """Begin anew and look for devices; no stream may be open. Raises SoundLost."""
        self.end()
        self._begin()

    def end(self) -> None:
        """Let the devices go."""
        audio, self._audio = self._audio, None
        if audio is not None:
            self._within(audio.terminate)

    def _begin(self) -> None:
        try:
            with _quietly():
                import pyaudio
        except ModuleNotFoundError:
            raise
        except ImportError as error:  # it is compiled against PortAudio
            raise UserError(
                f"PyAudio cannot be loaded ({error}); apt-get install libportaudio2"
            ) from error
        self._audio = self._within(pyaudio.PyAudio)

    def _within(self, act: Callable[[], Given], within_s: float = ACT_S) -> Given:
        try:
            with _quietly():
                return self._patiently(act, within_s)
        except (OSError, ValueError) as error:
            raise SoundLost(f"the sound system says: {_said(error)}") from error

    def _devices(self) -> list[Device]:
        audio = self._audio
        if audio is None:
            raise SoundLost("the sound system is not there")
        rows = map(audio.get_device_info_by_index, range(audio.get_device_count()))
        return [_device(row) for row in rows]

    def _default(self, able: list[Device], kind: Kind) -> list[Device]:
        asked = getattr(self._audio, f"get_default_{kind}_device_info")
        try:
            number = int(self._within(asked)["index"])
        except SoundLost:  # PortAudio raises where there is none
            return []
        return [device for device in able if device.number == number]

    def _open(
        self, device: Device, kind: Kind, rate_hz: int, hear: Callable[..., Any] | None
    ) -> Stream:
        import pyaudio

        refused: Exception | None = None
        for rate, channels in _formats(device, kind, rate_hz):
            options: dict[str, Any] = {kind: True, f"{kind}_device_index": device.number}
            options |= {"frames_per_buffer": rate * BLOCK_MS[kind] // 1000}
            if hear is not None:
                options |= {"stream_callback": hear}
            try:
                raw = self._audio.open(
                    rate=rate, channels=channels, format=pyaudio.paInt16, **options
                )
            except (OSError, ValueError) as error:
                refused = error
            else:
                return Stream(raw, rate, channels)
        raise SoundLost(
            f"the {NAMES[kind]} {device.name!r} cannot be opened at {rate_hz} Hz or its own "
            f"{device.rate_hz} Hz ({_said(refused)}); end what else uses it, or choose another"
        )


def _formats(device: Device, kind: Kind, rate_hz: int) -> Iterator[tuple[int, int]]:
    """Rates and channels to try; many cards have no mono, or no other rate than their own."""
    for channels in dict.fromkeys((1, min(2, device.channels(kind)))):
        for rate in dict.fromkeys((rate_hz, device.rate_hz)):
            yield rate, channels


def _matching(devices: list[Device], wanted: str) -> list[Device]:
    if wanted.isdecimal():
        return [device for device in devices if device.number == int(wanted)]
    exactly = [device for device in devices if device.name == wanted]
    return exactly or [one for one in devices if wanted.casefold() in one.name.casefold()]


def _device(row: dict[str, Any]) -> Device:
    return Device(
        int(row["index"]),
        str(row["name"]),
        int(row["maxInputChannels"]),
        int(row["maxOutputChannels"]),
        int(row["defaultSampleRate"]),
    )


def _said(error: Exception | None) -> str:
    """PyAudio's errors are [number, words]; the words."""
    return " ".join(str(error.args[-1] if error and error.args else error).split())


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """ALSA and JACK write a page about devices that are not there straight to standard error."""
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
