"""Training batches: chunks of consecutive frames, the windows in them, and balanced questions
about those.

A chunk's frames are encoded once and shared by its windows; a window's media by its questions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from otter_tuning.pocket import questions as q
from otter_tuning.pocket.data import SIDE, Episodes
from otter_tuning.pocket.kinds import KINDS

WINDOW = 4
CHUNK = 7
WINDOWS = CHUNK - WINDOW + 1  # per chunk
PROMPT = "<image>User: {question} GPT:<answer>"
END = "<|endofchunk|>"
# The same colour in the other shape; the cone looks like itself.
LOOK_ALIKES = np.array([*range(5, 10), *range(5), 10])
IGNORED = -100  # torch's ignore_index

Rng = np.random.Generator


@dataclass(frozen=True)
class Batch:
    """B chunks, W = B·WINDOWS windows, N questions."""

    frames: NDArray[np.uint8]  # (B, CHUNK, 64, 64, 3)
    patches: NDArray[np.int64]  # (B, CHUNK, 64)
    members: NDArray[np.int64]  # (W, WINDOW) indices into the B·CHUNK frames, oldest first
    plans: NDArray[np.int64]  # (W, K) class of the plan towards each kind, IGNORED where unclear
    window: NDArray[np.int64]  # (N,) the window that a question is about
    ids: NDArray[np.int64]  # (N, L) prompt and answer, padded with the end token
    targets: NDArray[np.int64]  # (N, L) the next id where the answer is, else IGNORED


@dataclass(frozen=True)
class Chunks:
    frames: NDArray[np.uint8]
    patches: NDArray[np.uint8]
    pixels: NDArray[np.uint16]  # (B, CHUNK, K)
    bearing: NDArray[np.float32]
    distance: NDArray[np.float32]


def draw_chunks(episodes: Episodes, count: int, rng: Rng) -> Chunks:
    """`count` chunks from random episodes, each mirrored with probability 1/2."""
    total, length = episodes.frames.shape[:2]
    which, start = rng.integers(total, size=count), rng.integers(length - CHUNK + 1, size=count)
    rows, times = which[:, None], start[:, None] + np.arange(CHUNK)
    frames, patches = episodes.frames[rows, times], episodes.patches[rows, times]
    bearing = episodes.bearing[rows, times]
    flip = rng.random(count) < 0.5
    frames[flip] = frames[flip][:, :, :, ::-1]
    grid = patches.reshape(count, CHUNK, 8, 8)
    grid[flip] = grid[flip][..., ::-1]
    bearing[flip] = -bearing[flip]
    pixels, distance = episodes.pixels[rows, times], episodes.distance[rows, times]
    return Chunks(frames, grid.reshape(count, CHUNK, 64), pixels, bearing, distance)


def window_members(chunks: int, rng: Rng, short: float = 0.2) -> NDArray[np.int64]:
    """(W, WINDOW) frame indices; a share `short` has fewer frames, its oldest repeated in front."""
    ends = np.tile(np.arange(WINDOW - 1, CHUNK), chunks)  # (W,)
    base = np.repeat(np.arange(chunks) * CHUNK, WINDOWS)
    distinct = np.where(rng.random(len(ends)) < short, rng.integers(1, WINDOW, len(ends)), WINDOW)
    oldest = ends - distinct + 1
    times = np.maximum(ends[:, None] - np.arange(WINDOW)[::-1], oldest[:, None])
    members: NDArray[np.int64] = times + base[:, None]
    return members


class Sampler:
    """Draws batches with each plan class equally often; deterministic in its seed."""

    def __init__(self, episodes: Episodes, tokenizer: Tokenizer, seed: int) -> None:
        self._episodes, self._rng = episodes, np.random.default_rng(seed)
        self._tokenizer = tokenizer
        self._cache: dict[str, list[int]] = {}

    def batch(self, chunks: int, plans: int, perceptions: int) -> Batch:
        """A batch of so many chunks, planning questions and perception questions."""
        rng, drawn = self._rng, draw_chunks(self._episodes, chunks, self._rng)
        members = window_members(chunks, rng)
        newest = members[:, -1]
        pixels = drawn.pixels.reshape(-1, len(KINDS)).astype(np.int64)
        bearing = drawn.bearing.reshape(-1, len(KINDS))[newest]
        distance = drawn.distance.reshape(-1, len(KINDS))[newest]
        truth = q.plan(pixels[members], bearing, distance)
        alike = (pixels[members].max(1) > 0)[:, LOOK_ALIKES]
        asked = [*self._plan_questions(truth, alike, plans)]
        asked += self._perception_questions(pixels[newest], bearing, distance, perceptions)
        ids, targets = self._encode([(question, answer) for _, question, answer in asked])
        return Batch(
            frames=drawn.frames,
            patches=drawn.patches.astype(np.int64),
            members=members,
            plans=np.where(truth.clear, truth.answer, IGNORED),
            window=np.array([window for window, _, _ in asked]),
            ids=ids,
            targets=targets,
        )

    def _plan_questions(
        self, truth: q.Truth, alike: NDArray[np.bool_], count: int
    ) -> list[tuple[int, str, str]]:
        """Every class as often; "unseen" twice, half of it where a look-alike (W, K) is seen."""
        unseen = truth.answer == q.UNSEEN
        group = np.where(unseen & alike, len(q.CLASSES), truth.answer)
        frequency = np.bincount(group[truth.clear], minlength=len(q.CLASSES) + 1) + 1.0
        weight = np.where(truth.clear, 1.0, 0.15) / frequency[group]
        forms = self._rng.integers(len(q.PLAN_QUESTIONS), size=count)
        asked = []
        for window, kind, form in zip(*_choose(weight, count, self._rng), forms, strict=True):
            name = KINDS[kind]
            answer = q.PLAN_ANSWERS[truth.answer[window, kind]].format(kind=name)
            asked.append((int(window), q.PLAN_QUESTIONS[form].format(kind=name), answer))
        return asked

    def _perception_questions(
        self,
        pixels: NDArray[np.int64],
        bearing: NDArray[np.float32],
        distance: NDArray[np.float32],
        count: int,
    ) -> list[tuple[int, str, str]]:
        """A third each of "can you see", "where is", "what is nearest"; (W, K) arrays."""
        rng, third, asked = self._rng, count // 3, []
        see, where = q.see(pixels), q.where(pixels, bearing)
        for truth, question, answers in (
            (see, q.SEE_QUESTION, q.SEE_ANSWERS),
            (where, q.WHERE_QUESTION, q.WHERE_ANSWERS),
        ):
            frequency = np.bincount(truth.answer[truth.clear], minlength=len(answers)) + 1.0
            weight = truth.clear / frequency[truth.answer]
            for window, kind in zip(*_choose(weight, third, rng), strict=True):
                name, answer = KINDS[kind], answers[truth.answer[window, kind]]
                asked.append((int(window), question.format(kind=name), answer))
        nearest = q.nearest(pixels, distance)
        weight = nearest.clear * np.where(nearest.answer == len(KINDS), 0.3, 1.0)
        for window in _choose(weight[:, None], count - 2 * third, rng)[0]:
            asked.append(
                (int(window), q.NEAREST_QUESTION, q.nearest_answer(nearest.answer[window]))
            )
        return asked

    def _encode(self, pairs: list[tuple[str, str]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        end = self._ids(END)[0]
        prompts = [self._ids(PROMPT.format(question=question)) for question, _ in pairs]
        answers = [[*self._ids(answer), end] for _, answer in pairs]
        length = max(len(p) + len(a) for p, a in zip(prompts, answers, strict=True))
        ids = np.full((len(pairs), length), end, np.int64)
        targets = np.full((len(pairs), length), IGNORED, np.int64)
        for row, (prompt, answer) in enumerate(zip(prompts, answers, strict=True)):
            ids[row, : len(prompt) + len(answer)] = prompt + answer
            targets[row, len(prompt) - 1 : len(prompt) + len(answer) - 1] = answer
        return ids, targets

    def _ids(self, text: str) -> list[int]:
        if text not in self._cache:
            self._cache[text] = self._tokenizer.encode(text).ids
        return self._cache[text]


def _choose(weight: NDArray[Any], count: int, rng: Rng) -> tuple[NDArray[np.int64], ...]:
    """`count` indices drawn in proportion to `weight`."""
    flat = weight.ravel() / weight.sum()
    return np.unravel_index(rng.choice(len(flat), size=count, p=flat), weight.shape)


def normalise(frames: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(…, 64, 64, 3) uint8 -> (…, 3, 64, 64) float32 with CLIP's mean and deviation."""
    mean = np.array([0.48145466, 0.4578275, 0.40821073], np.float32) * 255
    std = np.array([0.26862954, 0.26130258, 0.27577711], np.float32) * 255
    pixels = (frames.astype(np.float32) - mean) / std
    assert frames.shape[-3:] == (SIDE, SIDE, 3)
    return np.ascontiguousarray(np.moveaxis(pixels, -1, -3))
