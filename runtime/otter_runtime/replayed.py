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
from otter_runtime.loop import StepLoop
from otter_runtime.wire import Event, Handed


class Given(NamedTuple):
    """A frame or an order, and the monotonic nanoseconds at which the brain was given it."""

    at_ns: int
    what: Frame | Handed


class Told(NamedTuple):
    """An event, and the virtual nanoseconds at which the brain told it."""

    at_ns: int
    event: Event


def replayed(given: Iterable[Given], settings: Settings) -> Iterator[Told]:
    """What a brain with these settings tells of what it is given, in the order of `at_ns`.

    Raises BundleError for a bundle that is not what it says.
    """
    clock = VirtualClock()
    loop, _ = build(settings, clock)
    clock.cost_ms.update(loop.cost_ms)
    for at_ns, what in given:
        yield from _until(at_ns, loop, clock)
        clock.advance_to(at_ns)
        if isinstance(what, Frame):
            loop.show(what)
        else:
            carry_out(loop, what)
    yield from _until(None, loop, clock)


def _until(at_ns: int | None, loop: StepLoop, clock: VirtualClock) -> Iterator[Told]:
    """Steps that begin before `at_ns`; a step in flight is not interrupted."""
    while not loop.idle and (at_ns is None or clock.now_ns() < at_ns):
        for event in loop.step():
            yield Told(clock.now_ns(), event)
