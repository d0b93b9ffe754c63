"""Another look at the same sample: its pictures mirrored, brighter, of another tint, and its words
with them.

All frames of a clip change alike, so that they stay one clip and are encoded once for all who see
it. What changes follows from the run's seed and the batch's place, never from what was before.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from otter_tuning.mimicit.names import frame_of
from otter_tuning.training.config import AugmentConfig
from otter_tuning.training.encoding import Turn

Floats = NDArray[np.float32]


def clip_of(name: str) -> str:
    """What a picture is a frame of; itself where it is a still."""
    frame = frame_of(name)
    return name if frame is None else frame[0]


class Mirror:
    """What is the other way round in a mirror: words, and classes named with them."""

    def __init__(self, words: Mapping[str, str]) -> None:
        self._words = {**words, **{after: before for before, after in words.items()}}
        spelt = [*self._words, *(word.capitalize() for word in self._words)]
        self._pattern = re.compile(rf"\b({'|'.join(map(re.escape, spelt))})\b")

    def __bool__(self) -> bool:
        return bool(self._words)

    def text(self, text: str) -> str:
        """`text` with each of the words exchanged."""
        return self._pattern.sub(self._other, text) if self._words else text

    def classes(self, names: Sequence[str]) -> NDArray[np.int64]:
        """For each class the one that it is in a mirror."""
        return np.array([names.index(self.text(name)) for name in names], np.int64)

    def _other(self, found: re.Match[str]) -> str:
        word = found[0]
        if word in self._words:
            return self._words[word]
        return self._words[word[0].lower() + word[1:]].capitalize()


@dataclass(frozen=True)
class Change:
    """What happens to one clip; `gain` and `offset` (3, 1, 1) are of normalised pixels."""

    mirrored: bool
    gain: Floats
    offset: Floats

    def pixels(self, pixels: Floats) -> Floats:
        """(3, H, W) to the same."""
        turned = pixels[..., ::-1] if self.mirrored else pixels
        changed: Floats = turned * self.gain + self.offset
        return changed

    def patches(self, patches: NDArray[np.int64]) -> NDArray[np.int64]:
        """(P,) classes of a square of patches, to the same."""
        side = round(len(patches) ** 0.5)
        return patches.reshape(side, side)[:, ::-1].ravel() if self.mirrored else patches


class Changes:
    """The changes of one batch, drawn clip by clip."""

    def __init__(self, config: AugmentConfig, seed: Sequence[int]) -> None:
        self.mirror = Mirror(config.mirror)
        self._config, self._rng = config, np.random.default_rng(list(seed))
        self._of: dict[str, Change] = {}

    def of(self, picture: str) -> Change:
        """The change of the clip that `picture` belongs to."""
        clip = clip_of(picture)
        if clip not in self._of:
            self._of[clip] = self._drawn()
        return self._of[clip]

    def turns(self, turns: Sequence[Turn]) -> tuple[Turn, ...]:
        """Each turn's words as its pictures are; without any, as those of the turn before."""
        made, mirrored = [], False
        for turn in turns:
            if turn.frames:
                mirrored = self.of(turn.frames[-1]).mirrored
            text = self.mirror.text if mirrored else str
            made.append(Turn(text(turn.question), text(turn.answer), turn.frames))
        return tuple(made)

    def _drawn(self) -> Change:
        config, rng = self._config, self._rng
        mirrored = bool(self.mirror) and rng.random() < 0.5
        whole = 1 + config.gain * rng.uniform(-1, 1)
        gain = whole * (1 + config.tint * rng.uniform(-1, 1, (3, 1, 1)))
        offset = config.offset * rng.uniform(-1, 1, (3, 1, 1))
        return Change(mirrored, gain.astype(np.float32), offset.astype(np.float32))
