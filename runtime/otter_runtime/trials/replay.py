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

from msgspec import structs

from otter_runtime.brain import Settings
from otter_runtime.errors import TrialError
from otter_runtime.frame import Frame
from otter_runtime.replayed import Player, Told
from otter_runtime.trials.as_seen import as_seen, saw
from otter_runtime.trials.channels import CAMERA, MADE_ANEW, Load, ordered, told
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
_ANEW = MADE_ANEW | {told(kind) for kind in (Ready, Shown, Said, Declined, Pinned)}
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
    hash. `seen` gives each ask the very frames that it was answered from in the field, and time
    enough, where otherwise the clock decides what is seen and what is late. What came after
    `until_ns` on the trial's clock is left out. Raises TrialError for a trial that cannot be
    replayed, BundleError.
    """

    def __init__(
        self,
        trial: Trial,
        bundle: Path | None = None,
        *,
        seen: bool = False,
        until_ns: int | None = None,
    ) -> None:
        self.trial, self.config = trial, recorded_config(trial)
        self.bundle = bundle or find(trial, recorded_hash(trial))
        self.seen, self.until_ns = seen, until_ns
        self.frames = 0
        self.lacking = Lacking()
        self._given = bundle
        self._echo = Echo(self.config, trial.ahead_ns, seen)
        self._player: Player | None = None
        self._early: list[Handed] = []  # what a brain is given before it is ready
        self._newest_ns = 0  # when the newest frame was shown
        # What was declined in the field is not asked again where time does not count.
        self._kept = {told(Declined)} if seen else set()

    def records(self, inputs: bool = False) -> Iterator[Record]:
        """What the brain says and what is published of it, in order, as a trial has it.

        With `inputs` also everything else that the trial has, as it was: a trial by itself.
        """
        for order, record in enumerate(self._played(inputs), start=1):
            yield replace(record, order=order)

    def _played(self, inputs: bool) -> Iterator[Record]:
        for one in self._source():
            for said in self._take(one):
                yield from self._echo.hear(said)
            if isinstance(one, Sight):
                yield from _recorded(one) if inputs else ()
            elif (again := self._echo.again(one)) is not None:
                yield again
            elif (inputs and one.topic not in _ANEW) or one.topic in self._kept:
                yield one
        for said in self._end():
            yield from self._echo.hear(said)

    def _source(self) -> Iterator[Record | Sight]:
        return as_seen(self._counted(), saw(self.trial)) if self.seen else self._counted()

    def _counted(self) -> Iterator[Record | Sight]:
        """What the trial has up to the end that was asked for; what it lacks is counted."""
        found = 0
        for one in self.trial.seen():
            record, pictures = (one.record, bool(one.file)) if isinstance(one, Sight) else (one, 0)
            if self.until_ns is not None and record.log_ns > self.until_ns:
                return
            found += 1 + pictures
            self.lacking.messages = max(self.lacking.messages, record.order + pictures - found)
            yield one

    def _take(self, one: Record | Sight) -> list[Told]:
        """Give it to the brain; what that told before."""
        if isinstance(one, Sight):
            return self._show(one)
        if one.topic == _READY:
            return self._begin(one)
        if one.topic in (_DIED, _LOAD):
            return self._end()
        return self._order(one) if one.topic in ORDERS else []

    def _show(self, sight: Sight) -> list[Told]:
        if self._player is None:  # what it said when it came up is lost
            self._player = self._new(self.bundle)
        try:
            frame = sight.frame()
        except TrialError as error:
            self.lacking.frames[sight.show.stamp.id] = str(error)
            return []
        self.frames += 1
        self._newest_ns = sight.record.mono_ns
        return self._give(sight.record.mono_ns, frame)

    def _order(self, record: Record) -> list[Told]:
        order = record.message
        assert isinstance(order, Handed)
        if isinstance(order, Ask):
            order = structs.replace(order, deadline_ns=None) if self.seen else order
            self._echo.asked(order)
        if self._player is None:
            self._early.append(order)
            return []
        return self._give(record.mono_ns, order)

    def _give(self, at_ns: int, what: Frame | Handed) -> list[Told]:
        assert self._player is not None
        if self.seen:
            return self._player.give_at_rest(max(at_ns, self._newest_ns), what)
        return self._player.give(at_ns, what)

    def _begin(self, record: Record) -> list[Told]:
        """Another brain comes up."""
        said = self._end()
        ready = record.message
        assert isinstance(ready, Ready)
        self._player = self._new(self._given or find(self.trial, ready.model_hash))
        said.append(Told(record.mono_ns, self._player.ready))
        early, self._early = self._early, []
        for order in early:
            said += self._give(record.mono_ns, order)
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
