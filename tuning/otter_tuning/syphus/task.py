"""A task: what the model is told to write, examples of it, and which rules its pairs must keep.

Each is a JSON file in `prompts/`; a team with a scene of its own writes another.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec

from otter_runtime.errors import UserError
from otter_tuning.syphus.calls import Request
from otter_tuning.syphus.filters import RULES
from otter_tuning.syphus.pairs import FORM, Pair, write_pairs
from otter_tuning.syphus.queries import READERS, Query

PROMPTS = Path(__file__).parent / "prompts"
LANGUAGE_NAMES = {
    "zh": "Simplified Chinese",
    "ja": "Japanese",
    "es": "Spanish",
    "de": "German",
    "fr": "French",
    "ko": "Korean",
    "ar": "Arabic",
}
Text = Annotated[str, msgspec.Meta(min_length=1)]


class Written(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A pair as the file has it."""

    question: Text
    answer: Text


class Example(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A query and the pairs that should be written of it."""

    query: Text
    pairs: list[Written]

    def reply(self) -> str:
        """As the model should have replied."""
        return write_pairs([Pair(one.question, one.answer) for one in self.pairs])


class Task(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`name` begins the ids; `annotations` says how they are read (a name of `READERS`)."""

    name: Text
    annotations: str
    system: Text
    examples: list[Example] = []
    rules: list[str] = []

    def request(self, query: Query, model: str, seed: int = 0) -> Request:
        """What to ask the model about `query`."""
        messages = [("system", f"{self.system}\n\n{FORM}")]
        for example in self.examples:
            messages += [("user", example.query), ("assistant", example.reply())]
        return Request(model, (*messages, ("user", query.text)), seed=seed)


def read_task(name: str) -> Task:
    """The task of this name, or in the JSON file of this name; UserError where there is none."""
    path = Path(name) if name.endswith(".json") else PROMPTS / f"{name.lower()}.json"
    known = sorted(path.stem.upper() for path in PROMPTS.glob("*.json"))
    try:
        task = msgspec.json.decode(path.read_bytes(), type=Task)
    except OSError as error:
        raise UserError(f"there is no task {name!r}; there are {', '.join(known)}") from error
    except msgspec.MsgspecError as error:
        raise UserError(f"{path} is no task: {error}; correct that value") from error
    for rule in task.rules:
        _known(path, "rule", rule, list(RULES))
    _known(path, "kind of annotations", task.annotations, list(READERS))
    return task


def _known(path: Path, what: str, value: str, names: list[str]) -> None:
    if value not in names:
        raise UserError(f"{path}: there is no {what} {value!r}; there are {', '.join(names)}")


def write_task(path: Path, task: Task) -> None:
    """Write it, to be read again."""
    path.write_bytes(msgspec.json.format(msgspec.json.encode(task), indent=2) + b"\n")


def translation(pairs: list[Pair], language: str, model: str, seed: int = 0) -> Request:
    """Ask for `pairs` in another language, one for one, in the same form."""
    system = (
        f"Translate every question and answer into {LANGUAGE_NAMES[language]}, naturally, as a "
        "native speaker would say it. Keep the number and the order of the pairs, and anything in "
        f"<angle brackets> as it is. {FORM}"
    )
    messages = (("system", system), ("user", write_pairs(pairs)))
    return Request(model, messages, temperature=0.2, purpose=f"translate-{language}", seed=seed)
