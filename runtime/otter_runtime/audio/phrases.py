"""What may be said, and what it means: defaults here, a YAML file (`--phrases`) overrides them.

A phrase is asked of the assistant, or it has an effect on robots: a command, or another standing
instruction. It knows the words, not how they sound; `recogniser` looks those up.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import Enum
from pathlib import Path
from typing import Annotated

from msgspec import Meta, Struct

from otter_robots import settings
from otter_robots.errors import UserError
from otter_robots.messages import RESUME, STOP, Arguments, Id, UserText

_WORD = re.compile(r"[a-z]+(?:'[a-z]+)*'?")
_MARKS = str.maketrans(dict.fromkeys(".,;:?!-", " "))
Spoken = Annotated[str, Meta(min_length=1, max_length=200)]
Wordings = Annotated[tuple[Spoken, ...], Meta(min_length=1)]
Share = Annotated[float, Meta(ge=0, le=1)]

# The sounds of the American English model, as CMU's dictionary writes them.
PHONES = (
    "AA AE AH AO AW AY B CH D DH EH ER EY F G HH IH IY JH K L M N NG OW OY P R S SH T TH UH UW V "
    "W Y Z ZH"
)


class Phrase(Struct, frozen=True, kw_only=True):
    """One thing to say, in one or several wordings; one of `ask`, `instruct`, `command` is given.

    `ask` is a question to the assistant. `instruct` replaces the standing instruction, asked every
    `interval_s` seconds; `command` goes to every robot with its `arguments`.
    """

    say: Spoken | Wordings
    ask: UserText | None = None
    instruct: UserText | None = None
    interval_s: Annotated[float, Meta(ge=0.01, le=86_400)] = 1.0
    command: Id | None = None
    arguments: Arguments = {}

    @property
    def wordings(self) -> tuple[str, ...]:
        """All ways to say it."""
        return (self.say,) if isinstance(self.say, str) else self.say

    @property
    def stops(self) -> bool:
        """Whether every robot is to stop."""
        return self.command == STOP

    @property
    def confirmed(self) -> bool:
        """Whether a yes has to follow: a robot may move by it. A stop waits for nothing."""
        return self.ask is None and not self.stops

    def check(self) -> None:
        """Raise UserError unless it means exactly one thing."""
        given = [one for one in (self.ask, self.instruct, self.command) if one is not None]
        if len(given) != 1:
            raise UserError(
                f"the phrase {self.wordings[0]!r} has {len(given)} meanings; "
                "give it one of ask, instruct and command"
            )


class Assent(Enum):
    """What answers a reading back."""

    YES = "yes"
    NO = "no"


STOPPING = Phrase(say="stop", command=STOP)
Meaning = Phrase | Assent

# The bundled model's questions; with another model give your own.
DEFAULT = (
    Phrase(say="what should i do next", ask="What should I do next?"),
    Phrase(say="can you see the red box", ask="Can you see the red box?"),
    Phrase(say="where is the red box", ask="Where is the red box?"),
    Phrase(say="what is nearest to me", ask="What is nearest to you?"),
    Phrase(say="go to the red box", instruct="Go to the red box. What should I do next?"),
    Phrase(say=("carry on", "you may go on"), command=RESUME),
)


class Phrases(Struct, frozen=True, kw_only=True):
    """Everything that is listened for.

    `score`, for a stop `stop_score` and for what agrees `yes_score`, are the least that count: a
    stop that was missed and a yes that nobody said are worse than asking again.
    `pronunciations` has words that the dictionary lacks, in its sounds: `otto: AA T OW`.
    """

    phrases: tuple[Phrase, ...] = DEFAULT
    stop: Wordings = ("stop", "stop now", "stop stop stop", "please stop", "emergency stop")
    agree: Wordings = ("yes", "yes please")
    deny: Wordings = ("no", "no thank you")
    pronunciations: dict[str, str] = {}
    # Chosen with benchmarks/voice.py.
    score: Share = 0.4
    stop_score: Share = 0.1
    yes_score: Share = 0.7

    def least(self, meaning: Meaning) -> float:
        """The least score that counts for a phrase of this meaning."""
        if isinstance(meaning, Phrase) and meaning.stops:
            return self.stop_score
        return self.yes_score if meaning is Assent.YES else self.score

    def meanings(self) -> dict[str, Meaning]:
        """What each wording means, by its words; raises UserError for what cannot be told apart."""
        table: dict[str, Meaning] = {}
        for phrase in self.phrases:
            phrase.check()
            _enter(table, phrase.wordings, phrase)
        _enter(table, self.stop, STOPPING)
        _enter(table, self.agree, Assent.YES)
        _enter(table, self.deny, Assent.NO)
        return table

    def sounds(self) -> dict[str, str]:
        """The pronunciations, checked; raises UserError."""
        for word, sounds in self.pronunciations.items():
            foreign = set(sounds.split()) - set(PHONES.split())
            if not _WORD.fullmatch(word) or not sounds.split() or foreign:
                raise UserError(
                    f"the pronunciation {word}: {sounds!r} cannot be used; write a word in small "
                    f"letters and its sounds, of {PHONES}"
                )
        return self.pronunciations


def read(path: Path | None) -> Phrases:
    """The phrases of a file, the defaults without one; raises UserError."""
    return settings.read(Phrases, path)


def spoken(text: str) -> str:
    """The words of a text, in small letters; raises UserError for what has no sound of its own."""
    words = text.lower().translate(_MARKS).split()
    if not words or not all(map(_WORD.fullmatch, words)):
        raise UserError(
            f"the phrase {text!r} cannot be listened for; "
            "write it in words of the letters a to z, numbers too"
        )
    return " ".join(words)


def _enter(table: dict[str, Meaning], wordings: Iterable[str], meaning: Meaning) -> None:
    for words in map(spoken, wordings):
        if words in table:
            raise UserError(f"the phrase {words!r} is there twice; each needs words of its own")
        table[words] = meaning
