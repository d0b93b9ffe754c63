"""What an answer will probably say next: what followed the same words in the last answers.

Plans repeat: the instruction stands and the scene changes little. Where a few tokens at once cost
little more than one, because all of them read the same weights, a draft that turns out right saves
steps. It never changes an answer: each of its tokens is held against the model's own choice at that
place, and the first that differs ends it (greedy speculative decoding, Leviathan et al., arXiv
2211.17192; drafts by looking up what was said, Saxena 2023). It knows token ids, not whose answers
they are, and nothing of what a step costs.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

ANSWERS = 4  # a standing instruction each for a few sources, and what was asked in between
LONGEST = 3  # tokens in common
START = -1  # where an answer begins is told from the same tokens later on


class Drafts:
    """The last answers, looked up by the tokens that an answer ends with."""

    def __init__(self, most: int) -> None:
        """A draft has at most `most` tokens, 0 for none ever."""
        self._most = most
        self._said: deque[list[int]] = deque(maxlen=ANSWERS)
        self._after: dict[tuple[int, ...], list[int]] = {}

    def remember(self, answer: Sequence[int]) -> None:
        """A whole answer; the oldest is forgotten."""
        if self._most <= 0:
            return
        self._said.append([START, *answer])
        # Longer ones are other keys; among equals the newest answer and its latest place count.
        self._after = {
            tuple(said[at - length : at]): said[at : at + self._most]
            for said in self._said
            for length in range(1, LONGEST + 1)
            for at in range(length, len(said))
        }

    def after(self, ids: Sequence[int], most: int) -> list[int]:
        """At most `most` tokens that followed the longest known tail of `ids`, if there is one."""
        tail = [START, *ids[-LONGEST:]][-LONGEST:]
        for length in range(len(tail), 0, -1):
            if found := self._after.get(tuple(tail[-length:])):
                return found[: max(most, 0)]
        return []
