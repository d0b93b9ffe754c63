"""What a language model is asked to write: a JSON list of questions and answers, and nothing else.

Strict where it counts (every pair has both, as texts), forgiving where models slip: a fence around
the JSON, prose before it, a comma too many, an object around the list.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "pairs": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"question": {"type": "string"}, "answer": {"type": "string"}},
                "required": ["question", "answer"],
                "additionalProperties": False,
            },
        }
    },
    "required": ["pairs"],
    "additionalProperties": False,
}
FORM = 'Reply with JSON only: {"pairs": [{"question": "...", "answer": "..."}, ...]}'
_FENCE = re.compile(r"```(?:json)?\s*(.*?)```", re.DOTALL)
_TRAILING = re.compile(r",(\s*[\]}])")


class Unreadable(ValueError):
    """A reply in which no pairs can be found; the message says why."""


@dataclass(frozen=True)
class Pair:
    """A question and its answer."""

    question: str
    answer: str


def write_pairs(pairs: Sequence[Pair]) -> str:
    """Pairs in the form that is asked for, as an example's reply or a translation's input."""
    listed = [{"question": pair.question, "answer": pair.answer} for pair in pairs]
    return json.dumps({"pairs": listed}, ensure_ascii=False)


def read_pairs(reply: str) -> list[Pair]:
    """The pairs in `reply`; raises Unreadable."""
    value = _json(reply)
    if isinstance(value, dict):
        value = value.get("pairs", value.get("qa", [value] if "question" in value else None))
    if not isinstance(value, list):
        raise Unreadable("it has no list of pairs")
    pairs = []
    for item in value:
        keys = {str(key).lower(): text for key, text in item.items()} if _is(item) else {}
        if not isinstance(keys.get("question"), str) or not isinstance(keys.get("answer"), str):
            raise Unreadable(f"{str(item)[:60]} is no question with an answer")
        pairs.append(Pair(keys["question"].strip(), keys["answer"].strip()))
    return pairs


def _is(item: object) -> bool:
    return isinstance(item, dict)


def _json(reply: str) -> Any:
    """The first JSON value in `reply`, mended where only a comma is wrong."""
    fenced = _FENCE.search(reply)
    text = (fenced.group(1) if fenced else reply).strip()
    starts = [at for at in (text.find("{"), text.find("[")) if at >= 0]
    if not starts:
        raise Unreadable("it has no JSON")
    text = text[min(starts) :]
    for candidate in (text, _TRAILING.sub(r"\1", text)):
        try:
            return json.JSONDecoder(strict=False).raw_decode(candidate)[0]
        except (ValueError, RecursionError) as error:
            reason = error
    raise Unreadable(f"it is broken JSON ({reason})")
