"""Why a pair is not kept: rules, each with its name, applied in order; the first that fails tells.

The paper filters by the content policy of its language model alone; these are what its prompts ask
for and models forget: no talk of captions or timestamps, no names, a first person who asks.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from otter_tuning.syphus.pairs import Pair

LANGUAGES = ("en", "zh", "ja", "es", "de", "fr", "ko", "ar")
SHORTEST_ANSWER, LONGEST_ANSWER, LONGEST_QUESTION = 2, 2000, 600  # characters
# A text this short tells too little of its language.
LEAST_LETTERS = 12
_REFUSAL = re.compile(
    r"\bas an? (ai|artificial|language)\b|\bi('m| am) (sorry|unable)\b|"
    r"\bi can(no|')t (assist|help)",
    re.IGNORECASE,
)
_META = re.compile(
    r"\b(captions?|annotations?|descriptions?|transcripts?|bounding box(es)?|coordinates|"
    r"according to the (text|information)|mentioned in the)\b",
    re.IGNORECASE,
)
_TIME = re.compile(r"\btime ?stamps?\b|\b\d+(\.\d+)?\s?(s|sec|seconds)\b|\b\d{1,2}:\d{2}\b", re.I)
_SCRIPTS = {
    "zh": re.compile(r"[\u4e00-\u9fff]"),
    "ja": re.compile(r"[\u3040-\u30ff]"),
    "ko": re.compile(r"[\uac00-\ud7af]"),
    "ar": re.compile(r"[\u0600-\u06ff]"),
}
_KANA = _SCRIPTS["ja"]


@dataclass(frozen=True)
class Context:
    """What a rule may look at beside the pair: its language, names that may not be said."""

    language: str = "en"
    names: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()
    seen: set[str] = field(default_factory=set)


Rule = Callable[[Pair, Context], bool]


def reason_against(pair: Pair, context: Context) -> str | None:
    """The name of the first rule that `pair` breaks, None where it is kept; it is then `seen`."""
    for name in (*ALWAYS, *context.rules):
        if RULES[name](pair, context):
            return name
    context.seen.add(_plain(pair.question))
    return None


def right_language(text: str, language: str) -> bool:
    """Whether `text` is in `language`: by script where that tells, else by py3langid's model."""
    if (script := _SCRIPTS.get(language)) is not None:
        found = script.search(text) is not None
        return found and not (language == "zh" and _KANA.search(text))
    if any(script.search(text) for script in _SCRIPTS.values()):
        return False
    letters = sum(letter.isalpha() for letter in text)
    return letters < LEAST_LETTERS or _classified(text) == language


def _empty(pair: Pair, context: Context) -> bool:
    return not pair.question or len(pair.answer) < SHORTEST_ANSWER


def _too_long(pair: Pair, context: Context) -> bool:
    return len(pair.question) > LONGEST_QUESTION or len(pair.answer) > LONGEST_ANSWER


def _refusal(pair: Pair, context: Context) -> bool:
    return _REFUSAL.search(pair.answer) is not None


def _wrong_language(pair: Pair, context: Context) -> bool:
    return not right_language(f"{pair.question} {pair.answer}", context.language)


def _duplicate(pair: Pair, context: Context) -> bool:
    return _plain(pair.question) in context.seen


def _meta(pair: Pair, context: Context) -> bool:
    return _META.search(f"{pair.question} {pair.answer}") is not None


def _timestamp(pair: Pair, context: Context) -> bool:
    return _TIME.search(f"{pair.question} {pair.answer}") is not None


def _name(pair: Pair, context: Context) -> bool:
    text = f"{pair.question} {pair.answer}"
    return any(re.search(rf"\b{re.escape(name)}\b", text) for name in context.names)


def _no_first_person(pair: Pair, context: Context) -> bool:
    return re.search(r"\b(I|me|my|mine)\b", pair.question) is None


RULES: dict[str, Rule] = {
    "empty": _empty,
    "too-long": _too_long,
    "refusal": _refusal,
    "wrong-language": _wrong_language,
    "duplicate": _duplicate,
    "meta": _meta,
    "timestamp": _timestamp,
    "name": _name,
    "no-first-person": _no_first_person,
}
ALWAYS = ("empty", "too-long", "refusal", "wrong-language", "duplicate")


def names_in(texts: Iterable[str]) -> tuple[str, ...]:
    """Words that begin with a capital inside a sentence: people's names, in captions of series."""
    sentences = [part for text in texts for part in re.split(r"(?<=[.!?])\s+", text)]
    words = [word for sentence in sentences for word in re.findall(r"(?<=\s)[A-Z][a-z]+", sentence)]
    return tuple(dict.fromkeys(words))


def _plain(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.casefold()))


def _classified(text: str) -> str:
    return str(_identifier().classify(text)[0])


@cache
def _identifier() -> Any:
    from otter_runtime.errors import MissingExtra

    try:
        from py3langid.langid import MODEL_FILE, LanguageIdentifier
    except ModuleNotFoundError as error:
        raise MissingExtra("py3langid", "tuning") from error
    made = LanguageIdentifier.from_model_file(MODEL_FILE)
    made.set_languages(LANGUAGES)
    return made
