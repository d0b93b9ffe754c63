"""Which part of the network is written in which precision.

The parts are the three graphs, and the decoder's head apart from its body: an output projection
is read once per token but decides every token.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass, fields, replace

from otter_export.precision.protocol import Precision
from otter_export.precision.recipes import RECIPES
from otter_export.precision.seen import Seen, Statistic
from otter_runtime.errors import UserError


@dataclass(frozen=True)
class Choice:
    """A precision's name per part."""

    vision: str = "int8"
    resampler: str = "int8"
    decoder: str = "int8"
    head: str = "int8"

    @classmethod
    def parse(cls, text: str, base: Choice | None = None) -> Choice:
        """`int8`, `vision=fp16,decoder=int8`, or both: `int8,vision=fp16`.

        A name alone is for all parts, but `int4`, which is for weights that are read once per
        token: the decoder's body, the other graphs staying as in `base`. `vision` covers the
        resampler and `decoder` the head, unless named themselves. What is not named is as in
        `base` (default: int8 everywhere).

        Raises UserError for an unknown name or part, with the nearest known one.
        """
        named: dict[str, str] = {}
        choice = base or cls()
        for word in filter(None, text.split(",")):
            part, _, name = word.strip().rpartition("=")
            _known(name, tuple(RECIPES), "precision")
            if part:
                named[_known(part, PARTS, "part of the network")] = name
            elif name == "int4":
                choice = replace(choice, decoder=name, head="int8")
            else:
                choice = cls.all(name)
        for part, follower in (("decoder", "head"), ("vision", "resampler")):
            if part in named and follower not in named:
                named[follower] = "int8" if named[part] == "int4" else named[part]
        return replace(choice, **named)

    @classmethod
    def all(cls, name: str) -> Choice:
        """Every part in precision `name`; with int4 the body of the decoder alone."""
        return cls(decoder=name) if name == "int4" else cls(name, name, name, name)

    def parts(self) -> dict[str, str]:
        """Part to precision."""
        return {part: getattr(self, part) for part in PARTS}

    def wants(self) -> dict[str, tuple[Statistic, ...]]:
        """The statistics that calibration has to record, by part; parts that need none are out."""
        wants = {part: RECIPES[name].wants for part, name in self.parts().items()}
        return {part: statistics for part, statistics in wants.items() if statistics}

    def make(self, seen: Seen) -> dict[str, Precision]:
        """The precision of each part; parts of one name share one object."""
        names = self.parts()
        by_name = {name: RECIPES[name].make(seen) for name in sorted(set(names.values()))}
        return {part: by_name[name] for part, name in names.items()}

    def __str__(self) -> str:
        """The shortest text that `parse` reads back."""
        names = set(self.parts().values())
        if len(names) == 1:
            return names.pop()
        if self == Choice.all("int4"):
            return "int4"
        return ",".join(f"{part}={name}" for part, name in self.parts().items())


PARTS = tuple(field.name for field in fields(Choice))
# What a device runs best: vision is bound by arithmetic and does not gain from int8 on a GPU
# (Model-Optimizer issue 167, TensorRT issue 4273), the decoder by what it reads per token.
TARGETS = {
    "cpu": Choice(),
    "jetson": Choice(vision="fp16", resampler="fp16"),
}


def _known(word: str, known: tuple[str, ...], what: str) -> str:
    if word not in known:
        near = difflib.get_close_matches(word, known, 1)
        hint = f"did you mean {near[0]}?" if near else f"take one of {', '.join(known)}"
        raise UserError(f"{word!r} is no {what}; {hint}")
    return word
