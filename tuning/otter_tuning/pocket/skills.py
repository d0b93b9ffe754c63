"""The pocket world's plans as a robot's skills: five things to do, said in seven sentences."""

from __future__ import annotations

from otter_robots.skill import Offer, Skill
from otter_tuning.pocket.questions import CLASSES, PLAN_ANSWERS

# The skill that each of CLASSES calls for: what is remembered on a side is turned to as well.
SKILLS = ("turn_left", "turn_right", "go_forward", "stop", "look_around", "turn_left", "turn_right")
SKILL_OF = dict(zip(CLASSES, SKILLS, strict=True))


def offer(kind: str, rank: bool = True, affordance: dict[str, float] | None = None) -> Offer:
    """What somebody on the way to `kind` can do; affordances are 1 where they are not given."""
    said: dict[str, list[str]] = {}
    for skill, answer in zip(SKILLS, PLAN_ANSWERS, strict=True):
        said.setdefault(skill, []).append(answer.format(kind=kind))
    given = affordance or {}
    return Offer(
        skills=tuple(
            Skill(name=name, texts=tuple(texts), affordance=given.get(name, 1.0))
            for name, texts in said.items()
        ),
        rank=rank,
    )
