"""Carries out what the governor decides: frame rate, window, length of answers, a smaller bundle.

It tells the brain and the eye, and the bus what changed; it does not know temperatures.
"""

from __future__ import annotations

from collections.abc import Callable

from otter_robots.envelope import Envelope
from otter_robots.messages import Fault, Message
from otter_robots.messages import Governor as Said
from otter_robots.topics import FAULT, GOVERNOR, Topic
from otter_runtime.brain import Brain
from otter_runtime.config import WindowConfig
from otter_runtime.eye import Eye
from otter_runtime.governor import Governor
from otter_runtime.wire import Limit, Ready


class Economy:
    """`swap` is told which bundle is to be loaded, None being the run's own."""

    def __init__(
        self,
        window: WindowConfig,
        governor: Governor,
        eye: Eye,
        brain: Brain,
        publish: Callable[[Topic, Message], Envelope],
        swap: Callable[[str | None], None],
    ) -> None:
        self.governor = governor
        self._window, self._eye, self._brain = window, eye, brain
        self._publish, self._swap = publish, swap
        self._model: Ready | None = None
        self._bundle: str | None = None  # in the place of the run's own
        self._useless: set[str] = set()
        self._step = 0

    def turn(self) -> None:
        """Carry out a new step, if there is one."""
        said = self.governor.turn()
        if said is None:
            return
        self._publish(GOVERNOR, said)
        self._tell_fault(said)
        self._choose()
        self._limit()

    def came_up(self, model: Ready) -> None:
        """There is a new brain, which knows no limits."""
        self._model = model
        self._limit()

    def failed(self, detail: str) -> bool:
        """Whether what could not be loaded was a step's bundle: then the run's own comes back."""
        if self._bundle is None:
            return False
        self._useless.add(self._bundle)
        self._publish(FAULT, Fault(code="bundle", detail=f"{detail}; the step does without"))
        self._choose()
        return True

    @property
    def rate_hz(self) -> float:
        """Frames wanted a second, once a brain came up."""
        assert self._model is not None
        own_hz = self._window.rate_hz or self._model.rate_hz
        return min(own_hz, self.governor.limits.rate_hz or own_hz)

    def _limit(self) -> None:
        if self._model is None:
            return
        if self._eye.opened:
            self._eye.pace(self.rate_hz)
        limits = self.governor.limits
        limit = Limit(frames=limits.window_frames, max_new_tokens=limits.max_new_tokens)
        self._brain.limit(limit)

    def _choose(self) -> None:
        bundle = self.governor.limits.bundle
        wanted = None if bundle in self._useless else bundle
        if wanted != self._bundle:
            self._bundle = wanted
            self._swap(wanted)

    def _tell_fault(self, said: Said) -> None:
        detail = f"step {said.step} of {said.steps}: {said.reason}"
        if said.step == 0:
            self._publish(FAULT, Fault(code="thermal", detail=detail, cleared=True))
        elif said.step > self._step:
            self._publish(FAULT, Fault(code="thermal", detail=detail))
        self._step = said.step
