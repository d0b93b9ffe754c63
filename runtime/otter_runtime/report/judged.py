"""Whether an answer is right, where the clips it is about have labels.

It knows labels; it does not know trials.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from otter_robots.messages import Answer
from otter_runtime.errors import UserError
from otter_runtime.labels import Labels, Verdict

# The verdict on an answer; None where nobody knows what is right.
Judge = Callable[[Answer], Verdict | None]


def judge(folder: Path | None) -> Judge:
    """By the `labels.json` of a folder, if there is one given. Raises UserError."""
    if folder is None:
        return lambda answer: None
    labels = Labels.load(folder)
    asked = {clip.instruction for clip in labels.clips}

    def verdict(answer: Answer) -> Verdict | None:
        if answer.instruction not in asked:
            return None  # the labels are about another question
        try:
            return labels.judge(answer)
        except UserError:
            return None

    return verdict
