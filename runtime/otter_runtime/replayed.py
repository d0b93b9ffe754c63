"""What a brain would have said: a recording played to the step loop on a virtual clock.

The same loop, engines and bundle as in the field; only the time is another: it moves by the
bundle's step-cost table and to the moments at which something was recorded, so the same recording
gives the same events, byte for byte, however fast or busy the machine is. It knows what a brain is
told; it does not know files, the bus or who wants to compare.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from otter_runtime.brain import Settings, build, carry_out
from otter_runtime.clock import VirtualClock
from otter_runtime.frame import Frame
from otter_runtime.wire import Event, Handed


class Given(NamedTuple):
    """A frame or an order, and the monotonic nanoseconds at which the brain was given it."""

    at_ns: int
    what: Frame | Handed


class Told(NamedTuple):
    """An event, and the virtual nanoseconds at which the brain told it."""

    at_ns: int
    event: Event


class Player:
    """A brain on a virtual clock; what it is given comes in the order of `at_ns`.

    Raises BundleError for a bundle that is not what it says.
    """

    def __init__(self, settings: Settings) -> None:
        self._clock = VirtualClock()
        self._loop, self.ready = build(settings, self._clock)
        self._clock.cost_ms.update(self._loop.cost_ms)

    def give(self, at_ns: int, what: Frame | Handed) -> list[Told]:
        """Hand it over at `at_ns`; what the brain told before that."""
        told = self._until(at_ns)
        self._clock.advance_to(at_ns)
        self._hand_over(what)
        return told

    def give_at_rest(self, at_ns: int, what: Frame | Handed) -> list[Told]:
        """Hand it over at `at_ns` once all is done, however long that takes; what it told."""
        told = self.finish()
        self._clock.set_to(at_ns)
        self._hand_over(what)
        return told

    def finish(self) -> list[Told]:
        """What it tells when nothing more comes."""
        return self._until(None)

    def _hand_over(self, what: Frame | Handed) -> None:
        if isinstance(what, Frame):
            self._loop.show(what)
        else:
            carry_out(self._loop, what)

    def _until(self, at_ns: int | None) -> list[Told]:
        """Steps that begin before `at_ns`; a step in flight is not interrupted."""
        told = []
        while not self._loop.idle and (at_ns is None or self._clock.now_ns() < at_ns):
            told += [Told(self._clock.now_ns(), event) for event in self._loop.step()]
        return told


def replayed(given: Iterable[Given], settings: Settings) -> Iterator[Told]:
    """What a brain with these settings tells of what it is given, in the order of `at_ns`.

    Raises BundleError for a bundle that is not what it says.
    """
    player = Player(settings)
    for at_ns, what in given:
        yield from player.give(at_ns, what)
    yield from player.finish()
