"""Which of the frames known count now: the policies of the window, each a pure function.

A policy chooses at most `size` of the looks of one scene (oldest first), and says which of them
must be remembered to choose again when the next one came. Whatever it is, the newest look is
always chosen: an answer is about now. It knows times and sketches, not features or models.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from otter_runtime.config import WindowConfig
from otter_runtime.frame import Stamp
from otter_runtime.sketch import Sketch, change

TICKS = 64  # of a span that is uniformly drawn from; one look is remembered of each


class Seen(Protocol):
    """What a policy judges by."""

    @property
    def stamp(self) -> Stamp:
        """When it was taken."""

    @property
    def sketch(self) -> Sketch:
        """What it roughly shows."""


One = TypeVar("One", bound=Seen)


class Policy(Protocol):
    """How a window is chosen."""

    def choose(self, known: Sequence[One], size: int) -> list[One]:
        """At most `size` of `known`, in their order, the newest among them."""

    def remember(self, known: Sequence[One], size: int) -> list[One]:
        """Those without which a later choice would be another one."""


@dataclass(frozen=True)
class Last:
    """The last ones, at the rate at which frames come: what the models are trained on."""

    def choose(self, known: Sequence[One], size: int) -> list[One]:
        """The last `size`."""
        return list(known[-size:])

    def remember(self, known: Sequence[One], size: int) -> list[One]:
        """The same."""
        return self.choose(known, size)


@dataclass(frozen=True)
class Newest:
    """The newest one alone: the window repeats it at every place, as one picture stands for all."""

    def choose(self, known: Sequence[One], size: int) -> list[One]:
        """The newest."""
        return list(known[-1:])

    def remember(self, known: Sequence[One], size: int) -> list[One]:
        """The same."""
        return self.choose(known, size)


@dataclass(frozen=True)
class Uniform:
    """Evenly over the last `span_ns` of the source's time."""

    span_ns: int

    def choose(self, known: Sequence[One], size: int) -> list[One]:
        """The nearest to each of `size` moments, from the span's beginning to the newest look."""
        if not known:
            return []
        end_ns = known[-1].stamp.stream_ns
        begin_ns = max(end_ns - self.span_ns, known[0].stamp.stream_ns)
        gap_ns = (end_ns - begin_ns) / max(size - 1, 1)
        chosen = {self._nearest(known, end_ns - gap_ns * back) for back in range(size)}
        return [known[at] for at in sorted(chosen)]

    def remember(self, known: Sequence[One], size: int) -> list[One]:
        """Those of the span, the last of each of its TICKS: so many fill a memory, never more."""
        if not known:
            return []
        begin_ns = known[-1].stamp.stream_ns - self.span_ns
        last = {
            one.stamp.stream_ns * TICKS // self.span_ns: one
            for one in known
            if one.stamp.stream_ns >= begin_ns
        }
        return list(last.values())

    def _nearest(self, known: Sequence[Seen], at_ns: float) -> int:
        # Reversed: of two that are equally near, the newer.
        return min(
            reversed(range(len(known))), key=lambda at: abs(known[at].stamp.stream_ns - at_ns)
        )


@dataclass(frozen=True)
class Keyframes:
    """The first look, each that differs by `change` from the keyframe before it, and the newest."""

    change: float

    def choose(self, known: Sequence[One], size: int) -> list[One]:
        """The last keyframes that leave a place for the newest look, and that."""
        keys: list[One] = []
        for one in known:
            if not keys or change(keys[-1].sketch, one.sketch) >= self.change:
                keys.append(one)
        earlier = [key for key in keys if key is not known[-1]]
        return [*earlier[max(0, len(earlier) - size + 1) :], *known[-1:]]

    def remember(self, known: Sequence[One], size: int) -> list[One]:
        """The choice itself is enough, but for a window of one: that needs its keyframe."""
        return self.choose(known, max(size, 2))


def policy(config: WindowConfig) -> Policy:
    """The policy that a configuration names."""
    if config.policy == "uniform":
        return Uniform(round(config.span_s * 1e9))
    if config.policy == "keyframes":
        return Keyframes(config.change)
    return Newest() if config.policy == "newest" else Last()
