"""Carries out what may never return: a sound system that hangs does not hang who talks with it.

Closing a stream of a sound server that was stopped blocks for ever (seen with PulseAudio). The act
goes on in its thread; until it is over no other one is begun, because PortAudio takes one caller at
a time. It does not know what the acts are.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

from otter_runtime.errors import SoundLost

Given = TypeVar("Given")

ACT_S = 5.0  # opening takes 0.1 s, 1 s on a machine with many sound cards


class Patience:
    """One act at a time, each with its own time."""

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None

    def __call__(self, act: Callable[[], Given], within_s: float = ACT_S) -> Given:
        """What `act` gives or raises; SoundLost where it, or the one before, does not return."""
        if self._thread is not None and self._thread.is_alive():
            self._thread.join(within_s)
        if self._thread is not None and self._thread.is_alive():
            raise SoundLost("the sound system still hangs; restart it, or this process")
        given: list[Given] = []
        raised: list[BaseException] = []

        def carry_out() -> None:
            try:
                given.append(act())
            except BaseException as error:
                raised.append(error)

        # A daemon: at the end nobody waits for a sound system that hangs.
        self._thread = threading.Thread(target=carry_out, name="sound", daemon=True)
        self._thread.start()
        self._thread.join(within_s)
        if raised:
            raise raised[0]
        if not given:
            raise SoundLost(f"the sound system did not answer within {within_s:g} s; restart it")
        return given[0]
