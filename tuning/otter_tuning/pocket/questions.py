"""What is asked in the pocket world and what is true: instructions, perception questions, answers,
classes.

The truth comes from the simulator's state alone; nothing here renders or runs a model. F =
frames of a window (oldest first), K = len(KINDS); `pixels` counts the visible pixels of each
kind in a 64 x 64 mask.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from otter_tuning.pocket.kinds import KINDS

AHEAD_DEG = 12.0  # within this bearing a thing is ahead, beyond it on a side
STOP_M = 1.6  # nearer than this, and ahead, the wearer has arrived
SEEN_PX = 14  # at least this many pixels: seen; none: not seen; between: unclear
MARGIN_DEG, MARGIN_M = 3.0, 0.15  # nearer to a boundary than this: unclear
NEAREST_GAP_M = 0.5  # "nearest" is clear when the runner-up is this much farther

CLASSES = ("left", "right", "forward", "stop", "unseen", "remembered left", "remembered right")
LEFT, RIGHT, FORWARD, STOP, UNSEEN, REMEMBERED_LEFT, REMEMBERED_RIGHT = range(7)

PLAN_QUESTIONS = (
    "Go to the {kind}. What should I do next?",
    "I want to reach the {kind}. What do I do?",
    "How do I get to the {kind}?",
    "Take me to the {kind}.",
)
PLAN_ANSWERS = (
    "Turn left: the {kind} is on your left.",
    "Turn right: the {kind} is on your right.",
    "Go forward: the {kind} is ahead of you.",
    "Stop: the {kind} is right in front of you.",
    "Look around: I can't see the {kind}.",
    "Turn left: I saw the {kind} on your left.",
    "Turn right: I saw the {kind} on your right.",
)
SEE_QUESTION, SEE_ANSWERS = "Can you see the {kind}?", ("No.", "Yes.")
WHERE_QUESTION = "Where is the {kind}?"
WHERE_ANSWERS = ("On your left.", "On your right.", "Ahead of you.", "I can't see it.")
NEAREST_QUESTION, NEAREST_ANSWER, NOTHING = "What is nearest to you?", "The {kind}.", "Nothing."


@dataclass(frozen=True)
class Truth:
    """Right answers and whether they are clear; leading axes are whatever the input had."""

    answer: NDArray[np.int64]  # index of the right answer
    clear: NDArray[np.bool_]  # far enough from every boundary to be held to it


def plan(
    pixels: NDArray[np.integer], bearing: NDArray[np.floating], distance: NDArray[np.floating]
) -> Truth:
    """The right plan towards each kind: `pixels` (..., F, K), geometry (..., K) of
    the newest frame.

    Returns a Truth of shape (..., K) indexing CLASSES. A kind out of view that an earlier frame
    of the window shows is *remembered* on the side where it is now; one no frame shows is *unseen*.
    """
    newest, earlier = pixels[..., -1, :], pixels[..., :-1, :].max(-2, initial=0)
    side = np.where(bearing > 0, LEFT, RIGHT)
    close = np.where(distance < STOP_M, STOP, FORWARD)
    in_view = np.where(np.abs(bearing) > AHEAD_DEG, side, close)
    remembered = np.where(bearing > 0, REMEMBERED_LEFT, REMEMBERED_RIGHT)
    out_of_view = np.where(earlier >= SEEN_PX, remembered, UNSEEN)
    answer = np.where(newest > 0, in_view, out_of_view)

    off_side = np.abs(np.abs(bearing) - AHEAD_DEG) > MARGIN_DEG
    off_stop = (np.abs(bearing) > AHEAD_DEG) | (np.abs(distance - STOP_M) > MARGIN_M)
    in_view_clear = (newest >= SEEN_PX) & off_side & off_stop
    gone_clear = (np.abs(bearing) > 20) & (np.abs(bearing) < 160)
    clear = np.where(
        newest > 0, in_view_clear, np.where(earlier >= SEEN_PX, gone_clear, earlier == 0)
    )
    return Truth(answer.astype(np.int64), clear)


def see(pixels: NDArray[np.integer]) -> Truth:
    """Whether each kind is in the newest frame: `pixels` (..., K) -> index of SEE_ANSWERS."""
    return Truth((pixels > 0).astype(np.int64), (pixels == 0) | (pixels >= SEEN_PX))


def where(pixels: NDArray[np.integer], bearing: NDArray[np.floating]) -> Truth:
    """Where each kind is in the newest frame: (..., K) twice -> index of WHERE_ANSWERS."""
    side = np.where(bearing > 0, 0, 1)
    answer = np.where(pixels > 0, np.where(np.abs(bearing) > AHEAD_DEG, side, 2), 3)
    off_side = np.abs(np.abs(bearing) - AHEAD_DEG) > MARGIN_DEG
    return Truth(answer, (pixels == 0) | ((pixels >= SEEN_PX) & off_side))


def nearest(pixels: NDArray[np.integer], distance: NDArray[np.floating]) -> Truth:
    """The nearest kind in the newest frame: (..., K) twice -> (...) of KINDS, K for nothing."""
    far = np.where(pixels > 0, distance, np.inf)
    ranked = np.sort(far, -1)
    answer = np.where(np.isinf(ranked[..., 0]), len(KINDS), far.argmin(-1))
    with np.errstate(invalid="ignore"):
        gap = ranked[..., 1] - ranked[..., 0] > NEAREST_GAP_M
    whole = ((pixels == 0) | (pixels >= SEEN_PX)).all(-1)
    return Truth(answer, whole & (gap | np.isinf(ranked[..., 0])))


def nearest_answer(kind: int) -> str:
    """The sentence for an answer of `nearest`."""
    return NOTHING if kind == len(KINDS) else NEAREST_ANSWER.format(kind=KINDS[kind])


def corpus() -> list[str]:
    """Every sentence of the pocket world; the tokenizer is trained on it."""
    forms = [*PLAN_QUESTIONS, *PLAN_ANSWERS, SEE_QUESTION, WHERE_QUESTION, NEAREST_ANSWER]
    fixed = [*SEE_ANSWERS, *WHERE_ANSWERS, NEAREST_QUESTION, NOTHING]
    return [form.format(kind=kind) for form in forms for kind in KINDS] + fixed
