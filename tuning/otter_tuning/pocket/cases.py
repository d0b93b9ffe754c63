"""Questions with one right answer, drawn from fresh episodes: every class equally often.

It knows the simulator's truth; it does not know models or how answers are made.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from otter_runtime.labels import action
from otter_tuning.pocket import questions as q
from otter_tuning.pocket.data import FRAMES, WINDOW, Episodes
from otter_tuning.pocket.kinds import KINDS


@dataclass(frozen=True)
class Case:
    """One question about one window: `frames` index the episode, oldest first."""

    episode: int
    frames: tuple[int, ...]
    question: str
    answer: str
    label: str  # one of CLASSES, or "see", "where", "nearest"
    clear: bool = True

    @property
    def planning(self) -> bool:
        return self.label in q.CLASSES

    @property
    def memory(self) -> bool:
        return self.label.startswith("remembered")

    def right(self, said: str) -> bool:
        """A plan is right when its action is; a perception answer when it is the same sentence."""
        if self.planning:
            return action(said) == action(self.answer)
        return said.strip() == self.answer


def planning_cases(
    episodes: Episodes, per_class: int, seed: int, clear_only: bool = True
) -> list[Case]:
    """Up to `per_class` cases of each plan class, at random; those that are clear, or all."""
    rng, ends = np.random.default_rng(seed), np.arange(WINDOW - 1, FRAMES)
    windows = np.stack([episodes.pixels[:, end - WINDOW + 1 : end + 1] for end in ends], 1)
    truth = q.plan(windows.astype(np.int64), episodes.bearing[:, ends], episodes.distance[:, ends])
    cases = []
    for label, name in enumerate(q.CLASSES):
        fits = (truth.answer == label) & (truth.clear | (not clear_only))
        for episode, step, kind in _some(fits, per_class, rng):
            form = q.PLAN_QUESTIONS[rng.integers(len(q.PLAN_QUESTIONS))]
            question, answer = (
                text.format(kind=KINDS[kind]) for text in (form, q.PLAN_ANSWERS[label])
            )
            clear = bool(truth.clear[episode, step, kind])
            frames = _window(int(ends[step]))
            cases.append(Case(episode, frames, question, answer, name, clear))
    return cases


def perception_cases(episodes: Episodes, per_question: int, seed: int) -> list[Case]:
    """Clear perception cases, `per_question` of each of the three questions, answers balanced."""
    rng = np.random.default_rng(seed)
    pixels = episodes.pixels[:, WINDOW - 1 :].astype(np.int64)
    bearing, distance = episodes.bearing[:, WINDOW - 1 :], episodes.distance[:, WINDOW - 1 :]
    cases = []
    for label, truth, question, answers in (
        ("see", q.see(pixels), q.SEE_QUESTION, q.SEE_ANSWERS),
        ("where", q.where(pixels, bearing), q.WHERE_QUESTION, q.WHERE_ANSWERS),
    ):
        for index, answer in enumerate(answers):
            right = truth.clear & (truth.answer == index)
            for episode, step, kind in _some(right, per_question // len(answers), rng):
                frames = _window(step + WINDOW - 1)
                cases.append(
                    Case(episode, frames, question.format(kind=KINDS[kind]), answer, label)
                )
    nearest = q.nearest(pixels, distance)
    for index in range(len(KINDS) + 1):
        right = nearest.clear & (nearest.answer == index)
        for episode, step in _some(right, per_question // (len(KINDS) + 1), rng):
            frames, answer = _window(step + WINDOW - 1), q.nearest_answer(index)
            cases.append(Case(episode, frames, q.NEAREST_QUESTION, answer, "nearest"))
    return cases


def _window(end: int) -> tuple[int, ...]:
    return tuple(range(end - WINDOW + 1, end + 1))


def _some(where: NDArray[np.bool_], count: int, rng: np.random.Generator) -> list[tuple[int, ...]]:
    """Up to `count` of the true positions, at random."""
    found = np.argwhere(where)
    return [tuple(int(i) for i in row) for row in rng.permutation(found)[:count]]
