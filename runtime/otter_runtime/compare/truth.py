"""What is right, where somebody knows: a clip's labels, or answers that the user expects.

It knows how to tell a right answer; it does not know who gave it.

Expected answers are JSON lines. `question` or `id` (the question's own) says what each is for, and
`source` and `index`, where given, at which frame; `answer` is the right one but for case and marks,
or `match` a regular expression that is found in every right one:

    {"question": "Where is the cup?", "answer": "On the table."}
    {"question": "What next?", "source": "kitchen.avi", "index": 12, "match": "open .* (door|lid)"}
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from otter_runtime.compare.exchange import Exchange
from otter_runtime.compare.pairing import Pair
from otter_runtime.compare.wording import same
from otter_runtime.errors import UserError
from otter_runtime.labels import LABELS, Clip, Labels, action

# Whether an answer about the frame of this exchange is right; None where nobody knows.
Judge = Callable[[str, Exchange], bool | None]


class Expected(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One line of a file of expected answers."""

    question: str | None = None
    id: str | None = None
    source: str | None = None
    index: int | None = None
    answer: str | None = None
    match: str | None = None

    def fits(self, asked: Exchange) -> bool:
        """Whether it is about this question at this frame."""
        return (
            self.question in (None, asked.question)
            and self.id in (None, asked.question_id)
            and self.source in (None, asked.source)
            and self.index in (None, asked.index)
        )

    def right(self, text: str) -> bool:
        """Whether this answer is right."""
        if self.match is not None:
            return re.search(self.match, text, re.IGNORECASE) is not None
        return same(self.answer, text)


def verdicts(pair: Pair, judge: Judge) -> tuple[bool, bool] | None:
    """Whether each was right, None where nobody knows. Saying nothing is not right."""
    a, b = (_verdict(one, pair, judge) for one in (pair.a, pair.b))
    return None if a is None or b is None else (a, b)


def labelled(folder: Path) -> Judge:
    """By the `labels.json` of a folder of clips: the action named at the newest frame seen.

    Only frames whose label is clear count, and only their clip's own instruction. Raises UserError.
    """
    clips = {clip.file: clip for clip in Labels.load(_folder(folder)).clips}

    def judge(text: str, asked: Exchange) -> bool | None:
        clip: Clip | None = clips.get(asked.source)
        if clip is None or asked.index is None or asked.question != clip.instruction:
            return None
        if asked.index >= len(clip.frames) or not clip.frames[asked.index].clear:
            return None
        return action(text) == clip.frames[asked.index].action

    return judge


def expected(path: Path) -> Judge:
    """By a file of expected answers; the first line that fits counts. Raises UserError."""
    lines = [
        _expected(path, number, line)
        for number, line in enumerate(_read(path).splitlines(), 1)
        if line.strip()
    ]

    def judge(text: str, asked: Exchange) -> bool | None:
        return next((line.right(text) for line in lines if line.fits(asked)), None)

    return judge


def either(judges: Sequence[Judge]) -> Judge:
    """Who first knows an answer is believed."""

    def judge(text: str, asked: Exchange) -> bool | None:
        found = (one(text, asked) for one in judges)
        return next((right for right in found if right is not None), None)

    return judge


def _verdict(one: Exchange, pair: Pair, judge: Judge) -> bool | None:
    right = judge(one.answer or "", pair.place if one.index is None else one)
    return right if right is None else right and one.answer is not None


def _folder(path: Path) -> Path:
    return path.parent if path.name == LABELS else path


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"{path} cannot be read ({error}); give a file of expected answers, JSON lines"
        ) from error


def _expected(path: Path, number: int, line: str) -> Expected:
    try:
        found = msgspec.json.decode(line, type=Expected)
        re.compile(found.match or "")
    except (msgspec.MsgspecError, re.error) as error:
        raise UserError(f"line {number} of {path} is no expected answer: {error}") from error
    if (found.question or found.id) is None or (found.answer is None) is (found.match is None):
        raise UserError(
            f"line {number} of {path} needs `question` or `id`, and either `answer` or `match`"
        )
    return found
