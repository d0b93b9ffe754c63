"""The rolling window: which frames count now, each encoded once, their media K/V made once.

It knows frames and features; it does not know prompts, nor who asks for the medium.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from otter_runtime.engine import Floats, Media
from otter_runtime.frame import Stamp
from otter_runtime.policy import Last, Policy
from otter_runtime.sketch import BLANK, Sketch

SLACK_NS = 1_000_000  # a frame a hair early belongs to its own tick, not to the next


class Sampler:
    """Picks frames of a source at `rate_hz`, on a grid that starts with each scene.

    A grid, and not "a period after the last one", so that a 30 Hz source yields 4 Hz on average.
    """

    def __init__(self, rate_hz: float) -> None:
        self.period_ns = 1e9 / rate_hz
        self._last = (-1, -1)  # scene, tick

    def wants(self, stamp: Stamp) -> bool:
        """Whether this frame is the first of its tick; False for the rest of them."""
        tick = (stamp.scene, int((stamp.stream_ns + SLACK_NS) // self.period_ns))
        if tick == self._last:
            return False
        self._last = tick
        return True


@dataclass(frozen=True, eq=False)
class Look:
    """A frame as the model has it: features (patches, dim) and the hash of what they depend on.

    `sketch` is what it roughly shows.
    """

    stamp: Stamp
    digest: bytes
    features: Floats
    sketch: Sketch = field(default_factory=lambda: BLANK)


@dataclass(frozen=True, eq=False)
class Medium:
    """What a prompt's `<image>` stands for: K/V of some looks, and the hash of their contents."""

    stamps: tuple[Stamp, ...]
    digest: bytes
    media: Media


class Window:
    """At most `size` looks of one scene, and the medium they make; `policy` says which.

    `told_apart` is how many frames the model was trained to tell apart, 1 where it does not: there
    a frame that is repeated changes nothing.
    """

    def __init__(self, size: int, told_apart: int = 1, policy: Policy | None = None) -> None:
        self.size = size
        self._told_apart = told_apart
        self._policy = policy or Last()
        self._known: list[Look] = []
        self._looks: list[Look] = []
        self._medium: Medium | None = None

    def add(self, look: Look) -> None:
        """Put a look in; all others fall out where the scene is another."""
        same = self._known and self._known[-1].stamp.scene == look.stamp.scene
        self._choose([*(self._known if same else ()), look])

    def resize(self, size: int) -> None:
        """Choose at most `size` looks from now on, also of those there are."""
        if size != self.size:
            self.size = size
            self._choose(self._known)

    def _choose(self, known: list[Look]) -> None:
        self._known = self._policy.remember(known, self.size)
        self._looks = self._policy.choose(self._known, self.size)
        self._medium = None

    def __len__(self) -> int:
        return len(self._looks)

    @property
    def stamps(self) -> tuple[Stamp, ...]:
        """Of the frames that count now, oldest first."""
        return tuple(look.stamp for look in self._looks)

    @property
    def newest(self) -> Stamp | None:
        """Of the last frame that counts now."""
        return self._looks[-1].stamp if self._looks else None

    @property
    def medium(self) -> Medium | None:
        """The medium of the looks that count now; None until `resample` made it."""
        return self._medium

    def resample(self, resample: Callable[[Floats], Media]) -> Medium:
        """Make the medium with the engine's `resample`: features (frames, patches, dim) to K/V.

        A window with fewer looks than the model was trained with, being young or small, repeats
        its oldest in front, so that the newest always stands at the last frame embedding.
        """
        looks = self._looks
        span = max(self.size, self._told_apart)
        looks = looks[:1] * (span - len(looks)) + looks
        features = np.concatenate([look.features[None] for look in looks])
        self._medium = Medium(self.stamps, self._digest(), resample(features))
        return self._medium

    def _digest(self) -> bytes:
        # Order is content too: the model may tell first from last.
        return content_hash(b"".join(look.digest for look in self._looks))


def content_hash(content: bytes | memoryview) -> bytes:
    """16 bytes that stand for `content`: equal content, equal pictures, equal K/V."""
    return hashlib.blake2b(content, digest_size=16).digest()
