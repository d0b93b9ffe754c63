"""The robot's side of the loop: push the frame, ask about it, do what the guard lets through.

Lock-step: one question per frame that a decision is needed at, and the answer is about that very
frame. It knows the bus and the body; it does not know where things are: it sees what it pushes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from otter_robots.adapters.gymnasium.body import Body, Sight
from otter_robots.adapters.gymnasium.config import Config
from otter_robots.client import Client
from otter_robots.errors import UserError
from otter_robots.guard import Guard, Refused
from otter_robots.messages import Abstain, Picture
from otter_robots.skills import Registry
from otter_robots.topics import COMMAND, HEALTH

HEARTBEAT_S = 5.0  # for the first one, which comes once a second

Say = Callable[..., None]


@dataclass
class Tally:
    """What an episode came to; `reward` is their sum, `steps` are of the environment."""

    steps: int = 0
    answers: int = 0
    abstained: int = 0
    refused: int = 0
    reward: float = 0.0


class Pilot:
    """One robot in one environment; `say(event, **fields)` is told what happens."""

    def __init__(
        self, bus: Client, body: Body, config: Config, say: Say, dry_run: bool = False
    ) -> None:
        """Raises UserError where a skill has no action, or an action no skill."""
        self.bus, self.body, self.config, self.say = bus, body, config, say
        self.guard = Guard(self._registry(), dry_run=dry_run, silent_s=config.silent_s)
        self.tally = Tally()
        self._scene = -1
        self.bus.subscribe([HEALTH, COMMAND])

    def episode(self, seed: int) -> Tally:
        """One episode to its end; in a dry run, to its first answer."""
        self._scene += 1
        self.tally = Tally()
        sight = self.body.begin(seed)
        self._push(sight)
        question = _filled(self.config.question, sight.info)
        while not self.body.sight.over:
            self._decide(question)
            if self.guard.dry_run:
                break
        self.say("episode", seed=seed, **vars(self.tally), info=scalars(self.body.sight.info))
        return self.tally

    def _decide(self, question: str) -> None:
        """One question, and what comes of it."""
        self._listen()
        sight = self.body.sight
        offer = self.guard.registry.offer(rank=False) if self.config.offer else None
        envelope, reply = self.bus.ask_sealed(
            question, self.config.timeout_s, frame=sight.number, skills=offer
        )
        told = partial(self.say, "step", frame=sight.number, info=scalars(sight.info))
        if isinstance(reply, Abstain):
            self.tally.abstained += 1
            told(abstained=reply.reason)
            self._hold()
            return
        self.tally.answers += 1
        try:
            step = self.guard.check(envelope, reply)
            told(answer=reply.text, skill=step.skill, frames=list(reply.frame_ids))
            self.guard.perform(step)
            if not step.acts:
                self._hold()
        except Refused as why:
            self.tally.refused += 1
            told(answer=reply.text, refused=why.reason)
            self._hold()

    def _listen(self) -> None:
        """Take what came on the stream; wait for the very first heartbeat."""
        item = self.bus.receive(0 if self.tally.steps or self._scene else HEARTBEAT_S)
        while item is not None:
            self.guard.hear(*item)
            item = self.bus.receive(0)

    def _registry(self) -> Registry:
        skills = self.config.skills
        if skills is None:
            raise UserError("no skills are declared; see config.yaml in the adapter's folder")
        missing = set(skills.skills) ^ set(self.config.actions)
        if missing:
            raise UserError(f"skills and actions differ in {', '.join(sorted(missing))}; name both")
        if self.config.hold is None:
            raise UserError(
                "the robot cannot stand still; set `hold` to the action that does nothing"
            )
        for name in set(self.config.detours) - set(skills.skills):
            raise UserError(f"there is a detour for {name}, which is no declared skill")
        return Registry(skills, {name: partial(self._act, name) for name in skills.skills})

    def _act(self, skill: str, **arguments: object) -> None:
        self._live(self.body.carry_out(skill))

    def _hold(self) -> None:
        """Stand still, unless it is a dry run, in which nothing is done."""
        if not self.guard.dry_run:
            self._live(self.body.hold())

    def _live(self, sights: Iterable[Sight]) -> None:
        """Go through what is to be seen, a step each; a stop ends it between two steps."""
        for sight in sights:
            self.tally.steps += 1
            self.tally.reward += sight.reward
            self._push(sight)
            self._listen()
            if self.guard.stopped:
                return

    def _push(self, sight: Sight) -> None:
        height, width, _ = sight.pixels.shape
        picture = Picture(
            number=sight.number,
            width=width,
            height=height,
            encoding="rgb8",
            taken_ns=round(sight.number * 1e9 / self.config.rate_hz),
            scene=self._scene,
            source=self.config.env[:64],
        )
        self.bus.push(picture, sight.pixels.tobytes())


def scalars(info: Mapping[str, Any]) -> dict[str, Any]:
    """What of an info can be written as JSON."""
    return {name: value for name, value in info.items() if isinstance(value, (str, int, float))}


def _filled(template: str, info: Mapping[str, Any]) -> str:
    try:
        return template.format_map(info)
    except (KeyError, IndexError, AttributeError, ValueError) as error:
        raise UserError(
            f"the question {template!r} names what `reset` does not tell ({error}); "
            f"it tells {', '.join(info) or 'nothing'}"
        ) from error
