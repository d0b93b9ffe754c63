"""Whether an answer of the standing instruction is worth saying: nothing to say, nothing is said.

It knows answers, not what they are about. Questions are always answered.
"""

from __future__ import annotations

from collections.abc import Sequence

from otter_robots.messages import Answer


class Quiet:
    """`nothing` are answers, or names of skills, that say nothing; `repeat` says the same again."""

    def __init__(self, nothing: Sequence[str], repeat: bool) -> None:
        self._nothing = {_plain(text) for text in nothing}
        self._repeat = repeat
        self._said: tuple[str | None, str, str] | None = None

    @property
    def listens(self) -> bool:
        """Whether anything may be held back: then nothing is said before an answer is complete."""
        return bool(self._nothing) or not self._repeat

    def holds_back(self, answer: Answer) -> bool:
        """Whether to keep this one to ourselves. What was cut off is never held back."""
        if answer.partial:
            return False
        skill = answer.choices[0].skill if answer.choices else ""
        said = answer.instruction, answer.source, answer.text
        if self._nothing & {_plain(answer.text), _plain(skill)} - {""}:
            self._said = None  # what comes after silence is news
            return True
        if said == self._said and not self._repeat:
            return True
        self._said = said
        return False


def _plain(text: str) -> str:
    return text.strip().rstrip(".!").casefold()
