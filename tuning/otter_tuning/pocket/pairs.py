"""Which questions are asked about which windows of the pocket world: every class as often.

It knows the simulator's truth; it does not know files, tokens or models.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from otter_tuning.pocket import questions as q
from otter_tuning.pocket.data import FRAMES, WINDOW, Episodes
from otter_tuning.pocket.kinds import KINDS

CLIP = 8  # consecutive frames that are a clip of its own: an episode has two
PLANS, PERCEPTIONS = 4, 3  # pairs a clip has on average
SHORT = 0.2  # of the windows: those have just begun, their oldest frame stands in for the rest
UNCLEAR = 0.15  # what an unclear plan weighs beside a clear one
# The same colour in the other shape; the cone looks like itself.
LOOK_ALIKES = np.array([*range(5, 10), *range(5), 10])

Rng = np.random.Generator


@dataclass(frozen=True)
class Windows:
    """W windows of E episodes, K = len(KINDS); geometry is of the newest frame."""

    episode: NDArray[np.int64]  # (W,)
    members: NDArray[np.int64]  # (W, WINDOW) the episode's frames, oldest first
    pixels: NDArray[np.int64]  # (W, WINDOW, K)
    bearing: NDArray[np.float32]  # (W, K)
    distance: NDArray[np.float32]

    @property
    def plans(self) -> q.Truth:
        """The right plan towards each kind: (W, K)."""
        return q.plan(self.pixels, self.bearing, self.distance)


@dataclass(frozen=True)
class Pair:
    """A question about a window, and its answer."""

    window: int
    question: str
    answer: str


def windows(episodes: Episodes, rng: Rng) -> Windows:
    """Every window that lies within one clip; a share SHORT has fewer frames, its oldest repeated.

    `episodes.frames` is not looked at.
    """
    ends = np.concatenate([np.arange(start + WINDOW - 1, start + CLIP) for start in _starts()])
    count = len(episodes.pixels)
    episode, newest = np.repeat(np.arange(count), len(ends)), np.tile(ends, count)
    few = rng.integers(1, WINDOW, len(newest))
    distinct = np.where(rng.random(len(newest)) < SHORT, few, WINDOW)
    back = np.minimum(np.arange(WINDOW)[::-1], distinct[:, None] - 1)
    members = newest[:, None] - back
    return Windows(
        episode,
        members,
        episodes.pixels[episode[:, None], members].astype(np.int64),
        episodes.bearing[episode, newest],
        episodes.distance[episode, newest],
    )


def draw(seen: Windows, rng: Rng) -> list[Pair]:
    """PLANS and PERCEPTIONS pairs a clip, none twice, in the order of the windows."""
    clips = len(np.unique(seen.episode)) * len(_starts())
    pairs = [*_plans(seen, PLANS * clips, rng), *_perceptions(seen, PERCEPTIONS * clips, rng)]
    return sorted(pairs, key=lambda pair: pair.window)


def _starts() -> range:
    return range(0, FRAMES, CLIP)


def _plans(seen: Windows, count: int, rng: Rng) -> list[Pair]:
    """Every class as often; "unseen" twice, half of it where a look-alike is seen."""
    truth, alike = seen.plans, (seen.pixels.max(1) > 0)[:, LOOK_ALIKES]
    group = np.where((truth.answer == q.UNSEEN) & alike, len(q.CLASSES), truth.answer)
    frequency = np.bincount(group[truth.clear], minlength=len(q.CLASSES) + 1) + 1.0
    weight = np.where(truth.clear, 1.0, UNCLEAR) / frequency[group]
    made = []
    for window, kind in zip(*_choose(weight, count, rng), strict=True):
        form, name = q.PLAN_QUESTIONS[rng.integers(len(q.PLAN_QUESTIONS))], KINDS[kind]
        answer = q.PLAN_ANSWERS[truth.answer[window, kind]].format(kind=name)
        made.append(Pair(int(window), form.format(kind=name), answer))
    return made


def _perceptions(seen: Windows, count: int, rng: Rng) -> list[Pair]:
    """A third each of "can you see", "where is", "what is nearest", answers as often."""
    newest, third, made = seen.pixels[:, -1], count // 3, []
    for truth, question, answers in (
        (q.see(newest), q.SEE_QUESTION, q.SEE_ANSWERS),
        (q.where(newest, seen.bearing), q.WHERE_QUESTION, q.WHERE_ANSWERS),
    ):
        frequency = np.bincount(truth.answer[truth.clear], minlength=len(answers)) + 1.0
        weight = truth.clear / frequency[truth.answer]
        for window, kind in zip(*_choose(weight, third, rng), strict=True):
            answer = answers[truth.answer[window, kind]]
            made.append(Pair(int(window), question.format(kind=KINDS[kind]), answer))
    nearest = q.nearest(newest, seen.distance)
    weight = nearest.clear * np.where(nearest.answer == len(KINDS), 0.3, 1.0)
    for (window,) in zip(*_choose(weight, count - 2 * third, rng), strict=True):
        answer = q.nearest_answer(int(nearest.answer[window]))
        made.append(Pair(int(window), q.NEAREST_QUESTION, answer))
    return made


def _choose(weight: NDArray[Any], count: int, rng: Rng) -> tuple[NDArray[np.int64], ...]:
    """Up to `count` different indices in proportion to `weight` (the Gumbel-top-k draw)."""
    flat = weight.ravel().astype(np.float64)
    possible = np.flatnonzero(flat)
    keys = np.log(flat[possible]) + rng.gumbel(size=len(possible))
    chosen = possible[np.argsort(-keys, kind="stable")[:count]]
    return np.unravel_index(np.sort(chosen), weight.shape)
