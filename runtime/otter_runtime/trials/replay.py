"""A trial played again: what a bundle says of what another, or the same one, saw in the field.

Frames, asks, cancels, exemplars and limits reach the step loop at their recorded times, on a
virtual clock that moves by the bundle's step-cost table: the same trial and bundle give the same
bytes, on a busy machine and on an idle one. It knows trials and the replayed brain; it does not
know files or what is compared.

A brain that ended in the field, or made way for another model, does so here: what it knew is gone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from otter_robots.messages import Abstain, Answer, AnswerDelta
from otter_runtime.brain import Settings
from otter_runtime.errors import TrialError
from otter_runtime.replayed import Player, Told
from otter_runtime.trials.channels import CAMERA, Load, ordered, published, told
from otter_runtime.trials.echo import Echo
from otter_runtime.trials.foxglove import pack
from otter_runtime.trials.models import find, recorded_config, recorded_hash
from otter_runtime.trials.trial import Record, Sight, Trial
from otter_runtime.wire import (
    Ask,
    Declined,
    Died,
    Drop,
    Handed,
    Limit,
    Pin,
    Pinned,
    Ready,
    Said,
    Shown,
    Unpin,
)

ORDERS = {ordered(kind) for kind in (Ask, Drop, Pin, Unpin, Limit)}
# What a replay makes anew; a death stays what it was.
MADE_ANEW = {published(kind) for kind in (Answer, Abstain, AnswerDelta)}
MADE_ANEW |= {told(kind) for kind in (Ready, Shown, Said, Declined, Pinned)}
_READY, _DIED, _LOAD = told(Ready), told(Died), ordered(Load)


@dataclass
class Lacking:
    """What a replay could not be given: frames by id and why, and how many messages."""

    frames: dict[int, str] = field(default_factory=dict)
    messages: int = 0

    def __bool__(self) -> bool:
        return bool(self.frames or self.messages)


class Replay:
    """`records` plays the trial once; `frames` and `lacking` are known when it is at its end.

    `bundle` answers instead of the one that the trial was recorded with, which is found by its
    hash. Raises TrialError for a trial that cannot be replayed, BundleError.
    """

    def __init__(self, trial: Trial, bundle: Path | None = None) -> None:
        self.trial, self.config = trial, recorded_config(trial)
        self.frames = 0
        self.lacking = Lacking()
        self._given = bundle
        self._bundle = bundle or find(trial, recorded_hash(trial))
        self._echo = Echo(self.config, trial.ahead_ns)
        self._player: Player | None = None
        self._early: list[Handed] = []  # what a brain is given before it is ready
        self._due = 1

    def records(self, inputs: bool = False) -> Iterator[Record]:
        """What the brain says and what is published of it, in order, as a trial has it.

        With `inputs` also everything else that the trial has, as it was: a trial by itself.
        """
        for order, record in enumerate(self._played(inputs), start=1):
            yield replace(record, order=order)

    def _played(self, inputs: bool) -> Iterator[Record]:
        for one in self.trial.seen():
            for said in self._take(one):
                yield from self._echo.hear(said)
            if isinstance(one, Sight):
                yield from _recorded(one) if inputs else ()
            elif (again := self._echo.again(one)) is not None:
                yield again
            elif inputs and one.topic not in MADE_ANEW:
                yield one
        for said in self._end():
            yield from self._echo.hear(said)

    def _take(self, one: Record | Sight) -> list[Told]:
        """Give it to the brain; what that told before."""
        self._count(one.record.order if isinstance(one, Sight) else one.order)
        if isinstance(one, Sight):
            return self._show(one)
        if one.topic == _READY:
            return self._begin(one)
        if one.topic in (_DIED, _LOAD):
            return self._end()
        return self._order(one) if one.topic in ORDERS else []

    def _count(self, order: int) -> None:
        self.lacking.messages += max(0, order - self._due)
        self._due = max(self._due, order + 1)

    def _show(self, sight: Sight) -> list[Told]:
        self._due += bool(sight.file)
        if self._player is None:  # what it said when it came up is lost
            self._player = self._new(self._bundle)
        try:
            frame = sight.frame()
        except TrialError as error:
            self.lacking.frames[sight.show.stamp.id] = str(error)
            return []
        self.frames += 1
        return self._player.give(sight.record.mono_ns, frame)

    def _order(self, record: Record) -> list[Told]:
        order = record.message
        assert isinstance(order, Handed)
        if isinstance(order, Ask):
            self._echo.asked(order)
        if self._player is None:
            self._early.append(order)
            return []
        return self._player.give(record.mono_ns, order)

    def _begin(self, record: Record) -> list[Told]:
        """Another brain comes up."""
        said = self._end()
        ready = record.message
        assert isinstance(ready, Ready)
        self._player = player = self._new(self._given or find(self.trial, ready.model_hash))
        said.append(Told(record.mono_ns, player.ready))
        early, self._early = self._early, []
        for order in early:
            said += player.give(record.mono_ns, order)
        return said

    def _end(self) -> list[Told]:
        player, self._player = self._player, None
        return player.finish() if player else []

    def _new(self, bundle: Path) -> Player:
        return Player(Settings.of(self.config, str(bundle)))


def _recorded(sight: Sight) -> Iterator[Record]:
    """A frame and its picture as they were recorded."""
    yield sight.record
    if sight.file:
        stamp = sight.show.stamp
        image = pack(stamp.wall_ns, stamp.source, sight.file, sight.show.encoding)
        yield replace(sight.record, topic=CAMERA, data=image)
