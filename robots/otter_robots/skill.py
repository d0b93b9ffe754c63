"""A skill as it is put to the model, and what comes back: texts, what they leave open, affordance.

These structs travel inside Question, Instruct and Answer. A text is one sentence that the model
could say, such as `Go forward {metres} m.`; every parameter has finitely many values, each with
one way to write it, so that a text stands for a finite set of calls and can be read back exactly.
It does not know who carries a skill out, nor how its likelihood is computed.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Annotated

from msgspec import Meta, Struct

from otter_robots.errors import UserError

Identifier = Annotated[str, Meta(pattern="^[a-z][a-z0-9_]*$", max_length=64)]
Text = Annotated[str, Meta(min_length=1, max_length=256)]
Share = Annotated[float, Meta(ge=0, le=1)]
Value = str | int | float

NO_ACTION, CANT_SEE = "no_action", "cant_see"
# A grammar of a thousand numbers compiles in milliseconds; a finer step is no language model's.
MOST_VALUES, MOST_VALUES_IN_ALL = 1000, 4000
# 1e-300 is a number as well, and would be written with 300 decimals; 0.1 + 0.2 has 17.
MOST_DIGITS = 20
_HOLE = re.compile(r"\{([^{}]*)\}")


class Parameter(Struct, frozen=True, kw_only=True):
    """What a text leaves open: one of `choices`, or a number from `low` to `high` by `step`.

    A number is written with the decimals of `step` and `low`, and is an integer where they are.
    """

    name: Identifier
    choices: Annotated[tuple[Text, ...], Meta(max_length=64)] = ()
    low: float | None = None
    high: float | None = None
    step: Annotated[float, Meta(gt=0)] = 1.0

    @property
    def numeric(self) -> bool:
        """Whether its values are numbers."""
        return not self.choices

    def check(self) -> None:
        """Raise UserError where it has no values, or too many."""
        if self.choices:
            if len(set(self.choices)) != len(self.choices):
                raise UserError(f"parameter {self.name} has a choice twice; leave one of them out")
        elif self.low is None or self.high is None or not self.low <= self.high:
            raise UserError(
                f"parameter {self.name} goes from {self.low} to {self.high}; "
                "give choices, or finite low and high with low not above high"
            )
        elif not (math.isfinite(self.high) and _writable(self.low) and _writable(self.step)):
            raise UserError(
                f"parameter {self.name} goes from {self.low} to {self.high} by {self.step}; "
                f"give finite numbers of at most {MOST_DIGITS} digits on either side of the point"
            )
        elif (self.high - self.low) / self.step >= MOST_VALUES:
            raise UserError(
                f"parameter {self.name} has more than {MOST_VALUES} values; give a coarser step"
            )

    def values(self) -> dict[str, Value]:
        """Every value by the text that stands for it; `check` has passed."""
        if self.choices:
            return {choice: choice for choice in self.choices}
        low, high, step = (Decimal(repr(one)) for one in (self.low, self.high, self.step))
        low, step = low.normalize(), step.normalize()
        places = max(0, *(-int(one.as_tuple().exponent) for one in (low, step)))
        numbers = (low + index * step for index in range(int((high - low) / step) + 1))
        kind = float if places else int
        return {f"{number:.{places}f}": kind(number) for number in numbers}

    def accept(self, value: Value) -> Value | None:
        """The declared value that this is, None where it is none of them."""
        for declared in self.values().values():
            if isinstance(declared, str) or isinstance(value, (str, bool)):
                if declared == value and type(declared) is type(value):
                    return declared
            elif abs(declared - value) <= 1e-6 * self.step:
                return declared
        return None


class Skill(Struct, frozen=True, kw_only=True):
    """One thing that a robot can do.

    `texts` are sentences the model may choose it by, with `{parameter}` where they leave something
    open; each text has all parameters. `affordance` is the robot's own probability that doing it
    would succeed now.
    """

    name: Identifier
    texts: Annotated[tuple[Text, ...], Meta(min_length=1, max_length=8)]
    parameters: Annotated[tuple[Parameter, ...], Meta(max_length=4)] = ()
    affordance: Share = 1.0

    def check(self) -> None:
        """Raise UserError where texts and parameters do not fit."""
        names = [parameter.name for parameter in self.parameters]
        for text in self.texts:
            if text != text.strip():
                raise UserError(f"skill {self.name} says {text!r}; leave the space at its ends out")
            holes = _HOLE.findall(text)
            if sorted(holes) != sorted(set(names)) or len(names) != len(set(names)):
                raise UserError(
                    f"skill {self.name} says {text!r} and its parameters are "
                    f"{', '.join(names) or 'none'}; name each of them once in braces, no others"
                )
        for parameter in self.parameters:
            parameter.check()

    def parse(self, said: str) -> dict[str, Value] | None:
        """The arguments with which one of its texts is `said`, None where none is."""
        for text in self.texts:
            found = re.fullmatch(self._pattern(text), said)
            if found:
                return {
                    parameter.name: parameter.values()[found[parameter.name]]
                    for parameter in self.parameters
                }
        return None

    def _pattern(self, text: str) -> str:
        values = {parameter.name: parameter.values() for parameter in self.parameters}
        return "".join(
            f"(?P<{name}>{'|'.join(map(re.escape, longest_first(values[name])))})"
            if name
            else re.escape(literal)
            for literal, name in pieces(text)
        )


class Offer(Struct, frozen=True, kw_only=True):
    """What a robot can do now. Doing nothing and not seeing it are always among the choices.

    `no_action` and `cant_see` are the sentences that stand for them. With `rank` every choice is
    scored; without it the most likely words that the grammar allows are decoded, which costs less
    where there are many skills.
    """

    skills: Annotated[tuple[Skill, ...], Meta(min_length=1, max_length=64)]
    rank: bool = True
    no_action: Text = "Do nothing."
    cant_see: Text = "I can't see it."

    def check(self) -> None:
        """Raise UserError where it cannot be told apart who is meant."""
        names = [skill.name for skill in self.all]
        for name in names:
            if names.count(name) > 1:
                raise UserError(f"two skills are called {name}; each needs a name of its own")
        texts = [text for skill in self.all for text in skill.texts]
        for text in texts:
            if texts.count(text) > 1:
                raise UserError(f"two skills say {text!r}; the model could not choose between them")
        for skill in self.all:
            skill.check()
        values = sum(len(p.values()) for skill in self.all for p in skill.parameters)
        if values > MOST_VALUES_IN_ALL:
            raise UserError(
                f"the skills' parameters have {values} values, at most {MOST_VALUES_IN_ALL} in all "
                "can be offered; give coarser steps or fewer skills"
            )

    @property
    def all(self) -> tuple[Skill, ...]:
        """The declared skills, then no action and can't see."""
        none = Skill(name=NO_ACTION, texts=(self.no_action,))
        unseen = Skill(name=CANT_SEE, texts=(self.cant_see,))
        return (*self.skills, none, unseen)

    def parse(self, said: str) -> tuple[Skill, dict[str, Value]] | None:
        """The skill and arguments that `said` stands for, None where it stands for none."""
        for skill in self.all:
            arguments = skill.parse(said)
            if arguments is not None:
                return skill, arguments
        return None


class Choice(Struct, frozen=True, kw_only=True):
    """One call that the model could have chosen, and how likely that is.

    `likelihood` is the model's calibrated share among all choices; `probability` is that times the
    affordance (no action has what the affordances took away), and sums to one over all choices.
    `log_likelihood` is what the model gave the sentence itself, before any of this.
    """

    skill: Identifier
    text: str
    arguments: dict[str, Value] = {}
    probability: Share
    likelihood: Share
    log_likelihood: float


def _writable(number: float) -> bool:
    """Whether its decimals are few enough to be said."""
    if not math.isfinite(number):
        return False
    decimals = -int(Decimal(repr(number)).normalize().as_tuple().exponent)
    return decimals <= MOST_DIGITS and abs(number) < 10**MOST_DIGITS


def pieces(text: str) -> Iterator[tuple[str, str]]:
    """A text cut at its braces: (literal, "") and ("", parameter) in turn."""
    for index, part in enumerate(_HOLE.split(text)):
        if part:
            yield ("", part) if index % 2 else (part, "")


def longest_first(texts: Sequence[str] | dict[str, Value]) -> list[str]:
    """So that a regular expression tries `10` before `1`."""
    return sorted(texts, key=len, reverse=True)
