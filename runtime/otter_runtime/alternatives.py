"""The sentences that a robot's offer stands for, and how their likelihoods become choices.

It knows offers and numbers; it does not know tokens, engines or steps. The mathematics is SayCan's
(Ahn et al. 2022, https://arxiv.org/abs/2204.01691): the likelihood that the model gives a skill's
sentence, times the skill's affordance, the robot's own probability that it would succeed now.
Three things are fixed here that SayCan leaves open:

- a likelihood is a share among the offered sentences, softmax(log likelihood / temperature), so
  that it can be calibrated; a skill with several sentences has the sum of their shares;
- what the affordances take away goes to *no action*: where the model is sure of a skill that
  cannot succeed now, the second-best skill is not what the robot wants;
- *no action* and *can't see* are sentences like the others, with affordance 1.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from otter_robots.skill import NO_ACTION, Choice, Offer, Parameter, Skill, Value, pieces
from otter_runtime.errors import PromptError
from otter_runtime.grammar import logsumexp, quoted

# Each costs a run of the decoder; more are better decoded than ranked.
MOST_RANKED = 64


@dataclass(frozen=True)
class Alternative:
    """An expression for sentences, and the skills that they may belong to."""

    expression: str
    skills: tuple[Skill, ...]

    def read(self, said: str) -> tuple[Skill, dict[str, Value]]:
        """The call that a sentence of this expression stands for."""
        for skill in self.skills:
            arguments = skill.parse(said)
            if arguments is not None:
                return skill, arguments
        raise AssertionError(f"{said!r} is none of the sentences that the grammar allows")


@dataclass(frozen=True)
class Scored:
    """One sentence that the model was asked for: its call, and the log likelihood it was given.

    `tokens` counts the stop token, too. `share` is the log probability under the grammar alone.
    """

    skill: Skill
    arguments: dict[str, Value]
    text: str
    log_likelihood: float
    tokens: int
    share: float = 0.0


def alternatives(offer: Offer) -> list[Alternative]:
    """What is to be scored: every sentence with every choice, its numbers left open.

    Where the offer is not to be ranked it is one alternative: all sentences of the skills that can
    succeed now. Raises PromptError where there are more than MOST_RANKED to rank.
    """
    if not offer.rank:
        possible = tuple(skill for skill in offer.all if skill.affordance > 0)
        sentences = [_expression(s, text, {}) for s in possible for text in s.texts]
        return [Alternative(f"({'|'.join(sentences)})", possible)]
    # Counted before they are made: four parameters of 64 choices are 17 million sentences.
    count = sum(len(skill.texts) * _ways(skill) for skill in offer.all)
    if count > MOST_RANKED:
        raise PromptError(
            f"the offered skills make {count} sentences, at most {MOST_RANKED} are ranked; "
            "offer fewer, or offer them with rank false"
        )
    return [
        Alternative(_expression(skill, text, filled), (skill,))
        for skill in offer.all
        for text in skill.texts
        for filled in _choices(skill)
    ]


def ranked(scored: Sequence[Scored], temperature: float) -> tuple[Choice, ...]:
    """The calls by falling probability, which sums to one; at a tie doing nothing goes first."""
    logits = np.array([one.log_likelihood for one in scored]) / temperature
    shares = np.exp(logits - logsumexp(logits)).tolist()
    calls: dict[str, list[tuple[float, Scored]]] = {}
    for share, one in zip(shares, scored, strict=True):
        calls.setdefault(f"{one.skill.name}{one.arguments}", []).append((share, one))
    blocked = sum(
        share * (1 - one.skill.affordance) for share, one in zip(shares, scored, strict=True)
    )
    choices = [_choice(sentences, blocked) for sentences in calls.values()]
    return tuple(sorted(choices, key=lambda one: (-one.probability, one.skill != NO_ACTION)))


def decoded(one: Scored) -> tuple[Choice, ...]:
    """The only choice, where nothing was ranked.

    Its likelihood is among what the grammar allows, token by token, and is not calibrated.
    """
    return (_choice([(float(np.exp(one.share)), one)], 0.0),)


def _choice(sentences: list[tuple[float, Scored]], blocked: float) -> Choice:
    """One call: its sentences' shares added up, the likeliest sentence to say it by."""
    likelihood = sum(share for share, _ in sentences)
    _, best = max(sentences, key=lambda pair: pair[0])
    probability = likelihood * best.skill.affordance + blocked * (best.skill.name == NO_ACTION)
    return Choice(
        skill=best.skill.name,
        text=best.text,
        arguments=best.arguments,
        probability=min(1.0, probability),
        likelihood=min(1.0, likelihood),
        log_likelihood=best.log_likelihood,
    )


def _ways(skill: Skill) -> int:
    """How many `_choices` there are."""
    return math.prod(len(parameter.choices) for parameter in _named(skill))


def _choices(skill: Skill) -> Iterator[dict[str, str]]:
    """Every way to fill the parameters that are choices, none of the numbers."""
    named = _named(skill)
    for values in itertools.product(*(parameter.choices for parameter in named)):
        yield {parameter.name: value for parameter, value in zip(named, values, strict=True)}


def _named(skill: Skill) -> list[Parameter]:
    return [parameter for parameter in skill.parameters if not parameter.numeric]


def _expression(skill: Skill, text: str, filled: dict[str, str]) -> str:
    values = {parameter.name: list(parameter.values()) for parameter in skill.parameters}
    return "".join(
        _one_of([filled[name]] if name in filled else values[name]) if name else quoted(literal)
        for literal, name in pieces(text)
    )


def _one_of(texts: list[str]) -> str:
    return f"({'|'.join(map(quoted, texts))})"
