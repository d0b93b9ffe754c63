"""The pictures of a trial that somebody wants to look at, small enough to be sent.

It knows recorded frames; it does not know why they are shown. What was not recorded, or cannot be
decoded any more, is not in it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from otter_runtime.errors import TrialError
from otter_runtime.pages.pictures import Small, small
from otter_runtime.trials import picture
from otter_runtime.trials.trial import Trial

Album = Mapping[int, Small]  # by the frame's id
Wanted = tuple[set[int], set[int]]  # the frames of a, and of b


def albums(trials: tuple[Trial, Trial], wanted: Wanted, side: int) -> tuple[Album, Album]:
    """What a and b saw in these frames, no longer than `side` pixels.

    It is one album where both have their frames from one trial.
    """
    a, b = wanted
    if trials[0] is trials[1]:
        both = album(trials[0], a | b, side)
        return both, both
    return album(trials[0], a, side), album(trials[1], b, side)


def album(trial: Trial, frames: Collection[int], side: int) -> Album:
    """The pictures of these frames."""
    wanted, found = set(frames), {}
    for sight in trial.sights() if wanted else ():
        number = sight.show.stamp.id
        if number in wanted and sight.file:
            wanted.discard(number)
            try:
                found[number] = small(picture.decode(sight.file), side)
            except TrialError:
                continue
        if not wanted:
            break
    return found
