"""A question that nobody asked in the field, put to the frames of an old trial.

It knows a trial up to a moment and the replayed brain: exemplars, limits and the frames that the
window would have had then. Whatever was asked in the field does not stand in its way.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import msgspec

from otter_robots.messages import Abstain, Answer
from otter_runtime.answers import abstained, answered
from otter_runtime.brain import Settings
from otter_runtime.errors import TrialError
from otter_runtime.frame import Frame, Stamp
from otter_runtime.policy import policy
from otter_runtime.replayed import Player
from otter_runtime.sketch import Sketch, sketched
from otter_runtime.trials.channels import Load, ordered, told
from otter_runtime.trials.models import find, recorded_config, recorded_hash
from otter_runtime.trials.trial import Record, Sight, Trial
from otter_runtime.wire import Ask, Declined, Died, Handed, Limit, Pin, Said, Shown, Unpin

_ENDS = {told(Died), ordered(Load)}  # what a brain knew is gone then


@dataclass(frozen=True)
class Glimpse:
    """A frame of the trial as the window's policy looks at it; decoded when it has to be."""

    sight: Sight

    @property
    def stamp(self) -> Stamp:
        """When it was taken."""
        return self.sight.show.stamp

    @cached_property
    def frame(self) -> Frame:
        """Its very pixels. Raises TrialError where they are not to be had."""
        return self.sight.frame()

    @cached_property
    def sketch(self) -> Sketch:
        """What it roughly shows."""
        return sketched(self.frame.pixels)


class Hindsight:
    """What a brain knew at `at_ns` on the trial's clock. Raises TrialError, BundleError.

    `unseen` are the frames of that time, by id, that the trial has not got.
    """

    def __init__(self, trial: Trial, at_ns: int, bundle: Path | None = None) -> None:
        self.config = recorded_config(trial)
        settings = Settings.of(self.config, str(bundle or find(trial, recorded_hash(trial))))
        self._player = Player(settings)
        self._policy = policy(self.config.window)
        self._size = self._player.ready.frames
        self._at_ns = at_ns - trial.ahead_ns
        self._pins: dict[str, Pin] = {}
        self._limit = Limit()
        self._shown: dict[int, Sight] = {}
        self._known: list[Glimpse] = []
        self.unseen: list[int] = []
        for one in trial.seen():
            record = one.record if isinstance(one, Sight) else one
            if record.mono_ns > self._at_ns:
                break
            self._note(one)
        self._recall(trial)

    def ask(self, text: str) -> Answer | Abstain:
        """The answer, and the frames it is about."""
        ask = Ask(id="hindsight", text=text, question_id="hindsight")
        for at_ns, event in [*self._player.give(self._at_ns, ask), *self._player.finish()]:
            if isinstance(event, Said) and event.id == ask.id:
                model_hash = self._player.ready.model_hash
                return answered(ask, event, at_ns, model_hash, self.config)
            if isinstance(event, Declined) and event.id == ask.id:
                return abstained(ask, event.reason, event.detail)
        raise TrialError("the question was neither answered nor declined; ask at a later moment")

    def stamps(self, reply: Answer | Abstain) -> list[Stamp]:
        """Of the frames that it is about."""
        return [one.stamp for one in self._known if one.stamp.id in reply.frame_ids]

    def _note(self, one: Record | Sight) -> None:
        if isinstance(one, Sight):
            self._shown[one.show.stamp.id] = one
        elif one.topic in _ENDS:
            self._known, self._pins, self._limit = [], {}, Limit()
        elif one.topic in _NOTED:
            self._heed(one.message)

    def _heed(self, what: msgspec.Struct) -> None:
        if isinstance(what, Pin):
            self._pins[what.id] = what
        elif isinstance(what, Unpin):
            for known in [what.id] if what.id else list(self._pins):
                self._pins.pop(known, None)
        elif isinstance(what, Limit):
            self._limit = what
        elif isinstance(what, Shown):
            self._see(what)

    def _see(self, shown: Shown) -> None:
        """A frame counts from when it was encoded in the field."""
        sight = self._shown.pop(shown.stamp.id, None)
        if not shown.kept:
            return
        if sight is None or not sight.file:
            self.unseen.append(shown.stamp.id)
            return
        same = self._known and self._known[-1].stamp.scene == shown.stamp.scene
        known = [*(self._known if same else ()), Glimpse(sight)]
        self._known = self._policy.remember(known, self._size)

    def _recall(self, trial: Trial) -> None:
        """Tell the brain what it knew then."""
        if not self._known:
            raise TrialError(
                f"{trial.path} has no frame up to that moment; ask later: the first is at "
                f"{self._first_s(trial)}"
            )
        known: list[Frame | Handed] = [*self._pins.values(), self._limit]
        for what in known + [one.frame for one in self._known]:
            self._player.give(self._at_ns, what)
            self._player.finish()

    def _first_s(self, trial: Trial) -> str:
        first = next((sight for sight in trial.sights() if sight.file), None)
        if first is None:
            return "no time at all: it was recorded from the bus, without frames"
        return f"{(first.record.log_ns - trial.begun_ns) / 1e9:.2f} s"


_NOTED = {ordered(Pin), ordered(Unpin), ordered(Limit), told(Shown)}
