"""What a heard phrase leads to: a question, a stop at once, or an order once it is confirmed.

Whatever has an effect on robots is read back, and done only after a yes; speech that is none of the
phrases often sounds like one. It knows neither sound nor bus: it says what is to be done.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from otter_runtime.audio.phrases import Assent, Meaning, Phrase, Phrases

# From the end of the reading back: time to think, and too short for talk that comes after.
CONFIRM_S = 8.0


class Heard(NamedTuple):
    """An utterance as it was recognised: no words where it is none of the phrases."""

    words: str
    score: float  # 0 to 1


class Say(NamedTuple):
    """Say this."""

    text: str


class Ask(NamedTuple):
    """Put this question to the assistant."""

    question: str


class Order(NamedTuple):
    """Carry this phrase out on the bus."""

    phrase: Phrase


class Ignore(NamedTuple):
    """Do nothing, and why."""

    why: str


Act = Say | Ask | Order | Ignore


class Conversation:
    """Remembers only what waits for a yes."""

    def __init__(self, phrases: Phrases) -> None:
        self._meanings: Mapping[str, Meaning] = phrases.meanings()
        self._score, self._stop_score = phrases.score, phrases.stop_score
        self._pending: tuple[str, Phrase] | None = None
        self._until_s: float | None = None  # None while it is being read back

    def hear(self, heard: Heard) -> list[Act]:
        """What to do now that this was heard."""
        meaning = self._meanings.get(heard.words)
        if meaning is None:
            return [Ignore("it is none of the phrases")]
        if isinstance(meaning, Phrase) and not meaning.confirmed and meaning.ask is None:
            return self._stop(heard, meaning)
        if heard.score < self._score:
            return [Ignore(f"its score is below {self._score:g}")]
        if isinstance(meaning, Assent):
            return self._assent(meaning)
        return self._begin(heard.words, meaning)

    def wait(self, now_s: float) -> list[Act]:
        """What to do as nothing was heard until `now_s` (monotonic), and nothing is being said."""
        if self._pending is None:
            return []
        if self._until_s is None:
            self._until_s = now_s + CONFIRM_S
        if now_s < self._until_s:
            return []
        self._pending = None
        return [Say("I heard no yes, so nothing is done.")]

    def _stop(self, heard: Heard, phrase: Phrase) -> list[Act]:
        if heard.score < self._stop_score:
            return [Ignore(f"its score is below {self._stop_score:g}")]
        self._pending = None
        return [Order(phrase)]

    def _assent(self, assent: Assent) -> list[Act]:
        if self._pending is None:
            return [Ignore("nothing was asked")]
        _, phrase = self._pending
        self._pending = None
        return [Order(phrase)] if assent is Assent.YES else [Say("Then nothing is done.")]

    def _begin(self, words: str, phrase: Phrase) -> list[Act]:
        """Another phrase takes the place of one that waits: that one was not confirmed."""
        self._pending = None
        if phrase.ask is not None:
            return [Ask(phrase.ask)]
        self._pending, self._until_s = (words, phrase), None
        return [Say(f"Did you say: {words}? Yes, or no?")]
