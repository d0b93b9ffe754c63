"""When two answers say the same, and how near they are if not. It knows words, not their sense."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter

_MARKS = re.compile(r"[^\w\s]+")


def words(text: str) -> list[str]:
    """The words of a text in lower case, without marks: "1. Turn left!" is 1, turn, left."""
    plain = unicodedata.normalize("NFKC", text).casefold()
    return _MARKS.sub(" ", plain).split()


def same(a: str | None, b: str | None) -> bool:
    """Whether both say the same words in the same order, or both say nothing (None)."""
    if a is None or b is None:
        return a is b
    return words(a) == words(b)


def likeness(a: str | None, b: str | None) -> float:
    """Shared words, 0 to 1: F1 as for reading comprehension (Rajpurkar et al. 2016, SQuAD, 3.3).

    An answer is nothing like no answer, and two that have no words are alike.
    """
    if a is None or b is None:
        return float(a is b)
    ours, theirs = Counter(words(a)), Counter(words(b))
    shared = (ours & theirs).total()
    total = ours.total() + theirs.total()
    return 2 * shared / total if total else 1.0


def parting(a: str, b: str) -> int:
    """How many words both begin with before they part."""
    ours, theirs = words(a), words(b)
    pairs = enumerate(zip(ours, theirs, strict=False))
    return next((at for at, (x, y) in pairs if x != y), min(len(ours), len(theirs)))
