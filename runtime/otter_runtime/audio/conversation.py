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
        self._phrases, self._assents = grammars(self._meanings)
        self._least = phrases.least
        self._pending: Phrase | None = None
        self._until_s: float | None = None  # None while it is being read back

    @property
    def expected(self) -> frozenset[str]:
        """What may be said now: one of `grammars`."""
        return self._phrases if self._pending is None else self._assents

    def hear(self, heard: Heard) -> list[Act]:
        """What to do now that this was heard."""
        meaning = self._meanings.get(heard.words) if heard.words in self.expected else None
        if meaning is None:
            return [Ignore(f"it is not {'yes, no or stop' if self._pending else 'a phrase'}")]
        least = self._least(meaning)
        if heard.score < least:
            return [Ignore(f"its score is below {least:g}")]
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

    def _assent(self, assent: Assent) -> list[Act]:
        pending, self._pending = self._pending, None
        if assent is Assent.YES and pending is not None:
            return [Order(pending)]
        return [Say("Then nothing is done.")]

    def _begin(self, words: str, phrase: Phrase) -> list[Act]:
        self._pending = None  # a stop takes the place of what waits
        if phrase.ask is not None:
            return [Ask(phrase.ask)]
        if not phrase.confirmed:
            return [Order(phrase)]
        self._pending, self._until_s = phrase, None
        return [Say(f"Did you say: {words}? Yes, or no?")]


def grammars(meanings: Mapping[str, Meaning]) -> tuple[frozenset[str], frozenset[str]]:
    """What may be said at any time, and what while a yes is awaited; a stop always.

    Apart, because short words are taken for each other: in noise a stop was heard as a no.
    """
    assents = {words for words, meaning in meanings.items() if isinstance(meaning, Assent)}
    stops = {
        words
        for words, meaning in meanings.items()
        if isinstance(meaning, Phrase) and meaning.stops
    }
    return frozenset(set(meanings) - assents), frozenset(assents | stops)
