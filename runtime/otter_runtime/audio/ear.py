"""Hears phrases: a microphone's frames, cut into utterances, each recognised.

A microphone that is lost is opened again, later each time it fails. `Typed` is an ear for lines of
text, where there is no sound. Neither knows what a phrase leads to.
"""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable
from typing import TextIO

from otter_robots.adapters.entry import Events
from otter_runtime.audio.conversation import Heard
from otter_runtime.audio.microphone import Microphone
from otter_runtime.audio.phrases import spoken
from otter_runtime.audio.utterance import Segmenter
from otter_runtime.errors import OtterError, UserError

FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 30.0
ECHO_S = 0.3  # what was said last is on its way through room and buffers


class Ear:
    """`open_microphone` is called at once, and again after a loss; its first error is raised."""

    def __init__(
        self,
        open_microphone: Callable[[], Microphone],
        segmenter: Segmenter,
        recognise: Callable[[bytes, frozenset[str]], Heard],
        events: Events,
    ) -> None:
        self._open, self._segmenter = open_microphone, segmenter
        self._recognise, self._events = recognise, events
        self._microphone: Microphone | None = open_microphone()
        self._wait_s, self._again_s = FIRST_WAIT_S, 0.0
        self._overflows = 0

    @property
    def hearing(self) -> bool:
        """Whether somebody is speaking just now."""
        return self._segmenter.speaking

    def listen(self, patience_s: float, expected: frozenset[str]) -> Heard | None:
        """The next utterance, as one of what is expected; None where none ends in time."""
        until_s = time.monotonic() + patience_s
        while time.monotonic() < until_s:
            frame = self._frame(until_s - time.monotonic())
            utterance = None if frame is None else self._segmenter.hear(frame)
            if utterance is not None:
                return self._recognise(utterance, expected)
        return None

    def drop(self) -> None:
        """Wait for the echo, and forget what was heard until then: it was ourselves."""
        time.sleep(ECHO_S)
        self._segmenter.reset()
        if self._microphone is not None:
            self._microphone.drop()

    def _frame(self, patience_s: float) -> bytes | None:
        if self._microphone is None:
            self._reopen(patience_s)
            return None
        try:
            frame = self._microphone.read(patience_s)
        except OtterError as error:
            self._lose(self._microphone, error)
            return None
        self._count(self._microphone)
        return frame

    def _count(self, microphone: Microphone) -> None:
        lost = microphone.overflows - self._overflows
        if lost:
            self._overflows = microphone.overflows
            self._events("overflow", blocks=lost)

    def _lose(self, microphone: Microphone, error: OtterError) -> None:
        self._events("microphone-lost", why=str(error), again_in_s=FIRST_WAIT_S)
        self._microphone, self._wait_s = None, FIRST_WAIT_S
        self._again_s = time.monotonic() + FIRST_WAIT_S
        self._segmenter.reset()
        try:
            microphone.close()
        except OtterError as why:
            self._events("microphone-hangs", why=str(why))

    def _reopen(self, patience_s: float) -> None:
        wait_s = self._again_s - time.monotonic()
        if wait_s > 0:
            time.sleep(min(wait_s, patience_s))
            return
        try:
            self._microphone = self._open()
        except OtterError as error:
            self._wait_s = min(2 * self._wait_s, LONGEST_WAIT_S)
            self._again_s = time.monotonic() + self._wait_s
            self._events("microphone-missing", why=str(error), again_in_s=self._wait_s)
        else:
            self._overflows = 0
            self._events("microphone-back")


class Typed:
    """Lines of text are heard as if they had been said; `ended` after the last."""

    hearing = False

    def __init__(self, lines: TextIO) -> None:
        self._file = lines.fileno()
        self._held = b""
        self.ended = False

    def listen(self, patience_s: float, _: frozenset[str]) -> Heard | None:
        """The next line's words, with the score of what is certain."""
        if b"\n" not in self._held and not self.ended:
            self._read(patience_s)
        line, newline, rest = self._held.partition(b"\n")
        if not newline:
            if self.ended:
                time.sleep(patience_s)
            return None
        self._held = rest
        try:
            return Heard(spoken(line.decode(errors="replace")), 1.0)
        except UserError:
            return Heard("", 1.0)

    def drop(self) -> None:
        """Nothing: a line is nobody's echo."""

    def _read(self, patience_s: float) -> None:
        if select.select([self._file], [], [], patience_s)[0]:
            data = os.read(self._file, 4096)
            self.ended = not data
            self._held += data if data else b"\n" * bool(self._held)
