"""What a set of instructions is made of, as in the paper's figure 4: counts, lengths, verbs, nouns.

Verbs and nouns come from a dictionary (lemminflect), not from a parser: an instruction's first word
that can be a verb and is no auxiliary, then the first that can be a noun. English only.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache

from otter_runtime.errors import MissingExtra
from otter_tuning.mimicit.instructions import Instruction

_WORD = re.compile(r"[A-Za-z']+|[\u3040-\u30ff\u4e00-\u9fff\uac00-\ud7af]|[^\W\d_]+")
_LANGUAGE = re.compile(r"_(zh|ja|es|de|fr|ko|ar)$")
_QUESTION = frozenset(("what", "where", "when", "who", "whom", "whose", "which", "why", "how"))
# Words that a dictionary also calls nouns or verbs, and that are neither here.
_SMALL = frozenset(
    re.findall(
        r"\w+",
        "the a an this that these those i you he she it we they my your his her its our their me "
        "him us them there here some any no not to of in on at by for with from and or but if as "
        "than then next now so very more most other another one two please up down out off",
    )
)


@dataclass
class Statistics:
    """Counts of a set; lengths are in words (of Chinese, Japanese and Korean: characters)."""

    pairs: int = 0
    images: int = 0
    languages: Counter[str] = field(default_factory=Counter)
    sets: Counter[str] = field(default_factory=Counter)
    instruction_words: Counter[int] = field(default_factory=Counter)
    answer_words: Counter[int] = field(default_factory=Counter)
    images_each: Counter[int] = field(default_factory=Counter)
    contexts_each: Counter[int] = field(default_factory=Counter)
    verbs: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))


def statistics(pairs: Iterable[Instruction]) -> Statistics:
    """Count `pairs`."""
    made, images = Statistics(), set[str]()
    for pair in pairs:
        language = found.group(1) if (found := _LANGUAGE.search(pair.id)) else "en"
        made.pairs += 1
        made.languages[language] += 1
        made.sets[pair.id.partition("_")[0]] += 1
        made.instruction_words[words_in(pair.instruction)] += 1
        made.answer_words[words_in(pair.answer)] += 1
        made.images_each[len(pair.image_ids)] += 1
        made.contexts_each[len(pair.rel_ins_ids)] += 1
        images.update(pair.image_ids)
        if language == "en" and (both := verb_and_noun(pair.instruction)) is not None:
            made.verbs[both[0]][both[1]] += 1
    made.images = len(images)
    return made


def words_in(text: str) -> int:
    """Words, and characters of scripts that are written without spaces."""
    return len(_WORD.findall(text))


def verb_and_noun(text: str) -> tuple[str, str] | None:
    """The first verb and the first noun after it, as lemmas; None where there are none."""
    verb = None
    for word in _WORD.findall(text.lower()):
        if word in _SMALL or word in _QUESTION:
            continue
        lemmas = _lemmas(word)
        if verb is None:
            if "VERB" in lemmas and "AUX" not in lemmas:
                verb = lemmas["VERB"][0]
        elif "NOUN" in lemmas and "AUX" not in lemmas:
            return verb, lemmas["NOUN"][0]
    return None


@cache
def _lemmas(word: str) -> dict[str, tuple[str, ...]]:
    try:
        from lemminflect import getAllLemmas
    except ModuleNotFoundError as error:
        raise MissingExtra("lemminflect", "tuning") from error
    found: dict[str, tuple[str, ...]] = getAllLemmas(word)
    return found
