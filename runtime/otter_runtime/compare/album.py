"""The pictures of a trial that somebody wants to look at, small enough to be sent.

It knows recorded frames; it does not know why they are shown. What was not recorded, or cannot be
decoded any more, is not in it.
"""

from __future__ import annotations

import io
from collections.abc import Collection

from PIL import Image

from otter_runtime.compare.pairing import Pair
from otter_runtime.errors import TrialError
from otter_runtime.trials import picture
from otter_runtime.trials.trial import Trial

QUALITY = 80


def album(trial: Trial, frames: Collection[int], side: int) -> dict[int, bytes]:
    """JPEG files by frame id, at most `side` pixels wide and high."""
    wanted, found = set(frames), {}
    for sight in trial.sights():
        number = sight.show.stamp.id
        if number in wanted and sight.file:
            wanted.discard(number)
            try:
                found[number] = _small(sight.file, side)
            except TrialError:
                continue
        if not wanted:
            break
    return found


def albums(
    trials: tuple[Trial, Trial], pairs: Collection[Pair], side: int
) -> tuple[dict[int, bytes], dict[int, bytes]]:
    """What a and b saw of these pairs; one album where both have their frames from one trial."""
    a = {frame for pair in pairs for frame in pair.a.frames}
    b = {frame for pair in pairs for frame in pair.b.frames}
    if trials[0] is trials[1]:
        both = album(trials[0], a | b, side)
        return both, both
    return album(trials[0], a, side), album(trials[1], b, side)


def _small(file: bytes, side: int) -> bytes:
    image = Image.fromarray(picture.decode(file))
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=QUALITY)
    return buffer.getvalue()
