"""What a robot can do: declared by decorators, or in a YAML file, and offered to the model.

    class Rover:
        @skill("Go forward {metres} m.", metres=Range(low=0.5, high=3, step=0.5),
               requires="path_clear", every_s=1)
        def forward(self, metres: float) -> None: ...

        @condition
        def path_clear(self) -> bool: ...

    registry = Registry.of(Rover())

It knows functions and conditions; whether one may be called is for the `guard` to say.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta, Struct

from otter_robots import settings
from otter_robots.errors import UserError
from otter_robots.skill import Offer, Parameter, Share, Skill, Text, Value

Function = TypeVar("Function", bound=Callable[..., Any])
_SKILL, _CONDITION, _AFFORDANCE = "_otter_skill", "_otter_condition", "_otter_affordance"


class Range(Struct, frozen=True, kw_only=True):
    """Numbers from `low` to `high` by `step`; integers where all three are."""

    low: float
    high: float
    step: float = 1.0


class Declaration(Struct, frozen=True, kw_only=True):
    """A skill as it is declared, and what has to hold before it is carried out.

    `say` is one sentence for the model or several; a parameter has a list of choices or a Range.
    `requires` names conditions. Two calls are at least `every_s` seconds apart, and there are at
    most `per_minute` of them in any minute.
    """

    say: Text | tuple[Text, ...]
    parameters: dict[str, tuple[Text, ...] | Range] = {}
    requires: tuple[str, ...] = ()
    affordance: Share = 1.0
    every_s: Annotated[float, Meta(ge=0)] = 0.0
    per_minute: Annotated[int, Meta(ge=1)] | None = None

    def skill(self, name: str) -> Skill:
        """What the model is told of it."""
        texts = (self.say,) if isinstance(self.say, str) else self.say
        parameters = tuple(
            Parameter(name=key, low=open_.low, high=open_.high, step=open_.step)
            if isinstance(open_, Range)
            else Parameter(name=key, choices=open_)
            for key, open_ in self.parameters.items()
        )
        return Skill(name=name, texts=texts, parameters=parameters, affordance=self.affordance)


class Skills(Struct, frozen=True, kw_only=True):
    """A file of skills: declarations by name, and the two sentences that are always there."""

    skills: dict[str, Declaration]
    no_action: Text = "Do nothing."
    cant_see: Text = "I can't see it."


def skill(
    *say: str,
    requires: str | tuple[str, ...] = (),
    affordance: float = 1.0,
    every_s: float = 0.0,
    per_minute: int | None = None,
    **parameters: Range | tuple[str, ...],
) -> Callable[[Function], Function]:
    """Declare that a function or method is a skill of its own name; see Declaration."""
    declaration = Declaration(
        say=say,
        parameters={key: _open(value) for key, value in parameters.items()},
        requires=(requires,) if isinstance(requires, str) else requires,
        affordance=affordance,
        every_s=every_s,
        per_minute=per_minute,
    )
    return lambda function: _marked(function, _SKILL, declaration)


def condition(function: Function) -> Function:
    """Declare that a function without arguments tells whether the condition of its name holds."""
    return _marked(function, _CONDITION, True)


def affordance(*names: str) -> Callable[[Function], Function]:
    """Declare that a function without arguments gives these skills' affordance now, 0 to 1."""
    return lambda function: _marked(function, _AFFORDANCE, names)


class Registry:
    """The skills of one robot: declarations, and the functions that belong to them by name."""

    def __init__(
        self,
        skills: Skills,
        actions: Mapping[str, Callable[..., Any]] | None = None,
        conditions: Mapping[str, Callable[[], bool]] | None = None,
        affordances: Mapping[str, Callable[[], float]] | None = None,
        words: Mapping[str, str] | None = None,
    ) -> None:
        """`words` stand in the sentences for `{name}`: what the robot is about just now.

        Raises UserError where names or parameters do not fit each other.
        """
        self.skills = skills
        self.declarations = {name: _filled(one, words or {}) for name, one in skills.skills.items()}
        self.declared = self._declared()
        self.actions = dict(actions or {})
        self.conditions = dict(conditions or {})
        self.affordances = dict(affordances or {})
        self._check()

    @classmethod
    def of(
        cls,
        *things: Any,
        words: Mapping[str, str] | None = None,
        no_action: str = "Do nothing.",
        cant_see: str = "I can't see it.",
    ) -> Registry:
        """What is decorated in these objects or modules; or such functions themselves."""
        found = [function for thing in things for function in _decorated(thing)]
        declared = {f.__name__: getattr(f, _SKILL) for f in found if hasattr(f, _SKILL)}
        return cls(
            Skills(skills=declared, no_action=no_action, cant_see=cant_see),
            actions={f.__name__: f for f in found if hasattr(f, _SKILL)},
            conditions={f.__name__: f for f in found if hasattr(f, _CONDITION)},
            affordances={name: f for f in found for name in getattr(f, _AFFORDANCE, ())},
            words=words,
        )

    @classmethod
    def parse(cls, values: Mapping[str, Any], **more: Mapping[str, Any]) -> Registry:
        """From a plain mapping such as JSON gives; `more` as in the constructor."""
        return cls(settings.convert(Skills, values, None), **more)

    @classmethod
    def read(cls, path: Path, **more: Mapping[str, Any]) -> Registry:
        """From a YAML (or JSON) file; needs PyYAML, the extra `yaml`."""
        return cls(settings.read(Skills, path), **more)

    def offer(self, rank: bool = True) -> Offer:
        """What to send with a question: the skills with their affordances as they are now.

        A skill whose conditions do not hold has affordance 0.
        """
        return Offer(
            skills=tuple(self._now(name) for name in self.declarations),
            rank=rank,
            no_action=self.skills.no_action,
            cant_see=self.skills.cant_see,
        )

    def unmet(self, name: str) -> str | None:
        """The first condition of this skill that does not hold, None where all do.

        One that raises does not hold.
        """
        for needed in self.declarations[name].requires:
            try:
                holds = self.conditions[needed]()
            except Exception as error:  # the robot's own code: whatever it raises
                return f"{needed} ({type(error).__name__}: {error})"
            if not holds:
                return needed
        return None

    def _now(self, name: str) -> Skill:
        declared = self.declarations[name].skill(name)
        if self.unmet(name) is not None:
            return msgspec.structs.replace(declared, affordance=0.0)
        if name not in self.affordances:
            return declared
        value = float(self.affordances[name]())
        if not 0 <= value <= 1:
            raise UserError(f"the affordance of {name} is {value}; give a probability, 0 to 1")
        return msgspec.structs.replace(declared, affordance=value)

    def _declared(self) -> Offer:
        """Everything that is declared, whatever the conditions are now."""
        if not self.skills.skills:
            raise UserError("no skill is declared; decorate a function with @skill, or name one")
        offer = Offer(
            skills=tuple(one.skill(name) for name, one in self.declarations.items()),
            no_action=self.skills.no_action,
            cant_see=self.skills.cant_see,
        )
        # Bounds are held where structs are converted, not where they are made.
        offer = settings.convert(Offer, msgspec.to_builtins(offer), None)
        offer.check()
        return offer

    def _check(self) -> None:
        for kind, names in (("action", self.actions), ("affordance", self.affordances)):
            for name in set(names) - set(self.declarations):
                raise UserError(f"there is an {kind} for {name}, which is no declared skill")
        for name, declaration in self.declarations.items():
            for needed in set(declaration.requires) - set(self.conditions):
                raise UserError(f"skill {name} requires {needed}, which is no condition; give it")
        for name, action in self.actions.items():
            _takes(name, action, dict.fromkeys(self.declarations[name].parameters, ""))


def offered(skills: Registry | Offer | None) -> Offer | None:
    """What a question carries: a registry as it stands now, an offer as it is."""
    return skills.offer() if isinstance(skills, Registry) else skills


def _filled(declaration: Declaration, words: Mapping[str, str]) -> Declaration:
    texts = [declaration.say] if isinstance(declaration.say, str) else list(declaration.say)
    for name, word in words.items():
        texts = [text.replace(f"{{{name}}}", word) for text in texts]
    return msgspec.structs.replace(declaration, say=tuple(texts))


def _open(value: Range | tuple[str, ...]) -> Range | tuple[str, ...]:
    return value if isinstance(value, Range) else tuple(value)


def _marked(function: Function, mark: str, value: object) -> Function:
    setattr(function, mark, value)
    return function


def _decorated(thing: Any) -> Iterator[Any]:
    marks = (_SKILL, _CONDITION, _AFFORDANCE)
    if any(mark in getattr(thing, "__dict__", {}) for mark in marks):
        yield thing
        return
    for name in dir(thing):
        # Not getattr on everything: a property of the robot may move it.
        static = inspect.getattr_static(thing, name)
        if any(hasattr(static, mark) for mark in marks):
            yield getattr(thing, name)


def _takes(name: str, action: Callable[..., Any], arguments: Mapping[str, Value]) -> None:
    try:
        inspect.signature(action).bind(**arguments)
    except TypeError as error:
        wanted = ", ".join(arguments) or "no parameters"
        raise UserError(
            f"{name} is declared with {wanted}, its function differs: {error}"
        ) from None
    except ValueError:  # a builtin without a signature
        return
