"""The last word before a robot moves: every answer passes here, or nothing happens.

    guard = Guard(registry)
    for envelope, message in bus.messages([ANSWER, HEALTH, COMMAND]):
        guard.hear(envelope, message)
        if isinstance(message, Answer):
            try:
                guard.perform(guard.check(envelope, message))
            except Refused as why:
                print(why)

It knows the registry and the clock; it does not know the model, and trusts nothing it says. An
emergency stop is local and latched: it needs no model, no runtime and no network, holds until
`resume`, and falls by itself where the heartbeat is lost.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from msgspec import Struct

from otter_robots.envelope import Envelope
from otter_robots.errors import OtterError, UserError
from otter_robots.messages import RESUME, STOP, Answer, Command, Health, Message
from otter_robots.skill import CANT_SEE, NO_ACTION, Skill, Value
from otter_robots.skills import Registry
from otter_robots.transit import Transit

# Three heartbeats: what `Client.alive` takes for dead, too.
SILENT_S = 3.0
MINUTE_S = 60.0


class Refused(OtterError):
    """Nothing moves for this answer: `reason` is a code from `Guard.check`, `detail` a sentence."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{detail} ({reason})")
        self.reason, self.detail = reason, detail


class Step(Struct, frozen=True, kw_only=True):
    """A call that passed every check. Where `acts` is False there is nothing to do but wait."""

    skill: str
    arguments: dict[str, Value]
    text: str
    confidence: float
    age_ms: float
    dry_run: bool = False

    @property
    def acts(self) -> bool:
        """Whether it is one of the robot's skills, not *no action* or *can't see*."""
        return self.skill not in (NO_ACTION, CANT_SEE)


class Guard:
    """One robot's guard over one runtime. `stop` may be called from any thread or signal handler.

    `registry` says what the robot can do. With `dry_run` everything is checked and told to `say`,
    and nothing moves. `max_age_ms` holds answers to a shorter age than their own ttl.
    `min_confidence` refuses what the model is not sure of. Where the topic health is silent for
    `silent_s` (None: never), the guard stops; before the first heartbeat it refuses. `same_clock`
    says that the runtime is on this machine, so that a message's age is known from the first on.
    `on_stop` is called with the reason, once per stop: halt the motors there. `clock` is monotonic,
    in seconds.
    """

    def __init__(
        self,
        registry: Registry,
        *,
        dry_run: bool = False,
        max_age_ms: float | None = None,
        min_confidence: float = 0.0,
        silent_s: float | None = SILENT_S,
        same_clock: bool = False,
        on_stop: Callable[[str], None] | None = None,
        say: Callable[[str], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.registry, self.dry_run = registry, dry_run
        self.max_age_ms, self.min_confidence, self.silent_s = max_age_ms, min_confidence, silent_s
        self._on_stop, self._clock = on_stop, clock
        self._say = say or (lambda line: None)
        # A stop that was called here is kept apart: no message can end it, whatever the threads do.
        self._called: str | None = None
        self._heard: str | None = None
        self._beat_s: float | None = None
        self._transit = Transit(same_clock)
        self._epoch = ""
        self._last: tuple[str, int] = ("", 0)
        self._done_s: dict[str, deque[float]] = {}

    # The emergency stop.

    def stop(self, reason: str) -> None:
        """Nothing moves from now on, until `resume` here. The first reason stays."""
        first = self._why
        self._called = first or reason
        if first is None:
            self._halted(reason)

    def resume(self) -> None:
        """Allow motion again, once a heartbeat is heard; only a person should decide this."""
        self._called = None
        self._go_on()

    def _go_on(self) -> None:
        self._heard, self._beat_s = None, None
        # A runtime that lost its state counts its epochs from the beginning.
        self._epoch, self._last = "", ("", 0)
        self._transit.forget()
        self._say("resumed")

    @property
    def stopped(self) -> bool:
        """Whether nothing may move; a control loop that runs for long has to look here."""
        return self.why is not None

    @property
    def why(self) -> str | None:
        """Why it stopped, None where it did not. Looks at the heartbeat, too."""
        if self.silent_s is not None and self._beat_s is not None:
            silent_s = self._clock() - self._beat_s
            if silent_s > self.silent_s:
                self._halt(f"no heartbeat for {silent_s:.1f} s")
        return self._why

    def hear(self, envelope: Envelope, message: Message) -> None:
        """Take note of anything from the bus: heartbeats, and the commands stop and resume.

        A resume from the bus ends what the bus began, never a `stop` that was called here. What is
        from a recording has no effect; of an earlier run of the runtime only a stop has.
        """
        if envelope.origin != "live":
            return
        if isinstance(message, Command) and message.name == STOP:
            self._halt(f"{message.stamp.client or 'somebody'} gave the command")
        if envelope.epoch < self._epoch:
            return
        waited_s = self._waited_s(envelope)
        if isinstance(message, Health):
            # One that lay in a queue is no sign of life.
            self._beat_s = max(self._beat_s or 0.0, self._clock() - waited_s)
            if message.stopped:
                self._halt("the runtime was told to stop")
        elif isinstance(message, Command) and message.name == RESUME:
            in_time = 1000 * waited_s <= message.stamp.ttl_ms
            if in_time and self._called is None:
                self._go_on()

    @property
    def _why(self) -> str | None:
        return self._called or self._heard

    def _halt(self, reason: str) -> None:
        if self._why is None:
            self._heard = reason
            self._halted(reason)

    def _halted(self, reason: str) -> None:
        # The motors first: telling may fail, or take its time.
        if self._on_stop is not None:
            self._on_stop(reason)
        self._say(f"stopped: {reason}")

    # Answers.

    def check(self, envelope: Envelope, answer: Answer) -> Step:
        """The call that this answer stands for.

        Raises Refused with a `reason` of `stopped`, `heartbeat`, `replay`, `partial`, `late`,
        `old`, `repeated`, `unsure`, `unknown-skill`, `arguments`, `precondition` or
        `rate`. An answer passes once: what is shown again is refused as repeated.
        """
        try:
            step = self._checked(envelope, answer)
        except Refused as refused:
            self._say(f"refused {answer.text!r}: {refused}")
            raise
        self._last = (envelope.epoch, envelope.seq)
        if step.acts:
            self._done_s.setdefault(step.skill, deque()).append(self._clock())
        return step

    def perform(self, step: Step) -> object:
        """Call the skill's function and give what it returns; None where nothing is to be done.

        Raises Refused where a stop came after `check`.
        """
        self._may_move()
        if not step.acts or step.dry_run or self.dry_run:
            self._say(f"{'would do' if step.acts else 'nothing to do'}: {_call(step)}")
            return None
        self._say(f"does: {_call(step)}")
        action = self.registry.actions.get(step.skill)
        if action is None:
            raise UserError(f"nothing carries out {step.skill}; give the registry an action for it")
        return action(**step.arguments)

    def _checked(self, envelope: Envelope, answer: Answer) -> Step:
        self._may_move()
        age_ms = self._fresh(envelope, answer)
        skill, arguments = self._chosen(answer)
        if skill not in (NO_ACTION, CANT_SEE):
            self._allowed(skill)
        confidence = 0.0 if answer.confidence is None else answer.confidence
        if confidence < self.min_confidence:
            raise Refused(
                "unsure", f"the model is {confidence:.2f} sure, not {self.min_confidence:.2f}"
            )
        return Step(
            skill=skill,
            arguments=arguments,
            text=answer.text,
            confidence=confidence,
            age_ms=age_ms,
            dry_run=self.dry_run,
        )

    def _may_move(self) -> None:
        if self.why is not None:
            raise Refused("stopped", f"it was stopped ({self._why}) and not resumed")
        if self.silent_s is not None and self._beat_s is None:
            raise Refused("heartbeat", "no heartbeat was heard yet; hear the topic health")

    def _fresh(self, envelope: Envelope, answer: Answer) -> float:
        """The answer's age in ms; a recording, a piece, or an old one is refused."""
        if envelope.origin != "live":
            raise Refused("replay", "it is from a recording")
        if answer.partial:
            raise Refused("partial", "its deadline cut it off")
        if answer.late:
            raise Refused("late", "it was late when it was published")
        if envelope.epoch < self._epoch:
            raise Refused("repeated", "it is from an earlier run of the runtime")
        if (envelope.epoch, envelope.seq) <= self._last:
            raise Refused("repeated", "it, or a later one, passed already")
        age_ms = answer.age_ms + 1000 * self._waited_s(envelope)
        limit_ms = min(answer.ttl_ms, self.max_age_ms or answer.ttl_ms)
        if age_ms > limit_ms:
            raise Refused(
                "old", f"its newest frame is {age_ms:.0f} ms old, {limit_ms:.0f} is allowed"
            )
        return age_ms

    def _chosen(self, answer: Answer) -> tuple[str, dict[str, Value]]:
        """Skill and arguments: the first choice, or what an answer without choices says.

        Either is held against this robot's own declarations.
        """
        if not answer.choices:
            read = self.registry.declared.parse(answer.text)
            if read is None:
                raise Refused("unknown-skill", f"{answer.text!r} is none of the declared skills")
            return read[0].name, read[1]
        choice = answer.choices[0]
        skill = next((one for one in self.registry.declared.all if one.name == choice.skill), None)
        if skill is None:
            raise Refused("unknown-skill", f"{choice.skill} is none of the declared skills")
        return skill.name, _accepted(skill, choice.arguments)

    def _allowed(self, name: str) -> None:
        unmet = self.registry.unmet(name)
        if unmet is not None:
            raise Refused("precondition", f"{name} requires {unmet}, which does not hold")
        declared, now_s = self.registry.declarations[name], self._clock()
        done_s = self._done_s.setdefault(name, deque())
        while done_s and now_s - done_s[0] >= max(MINUTE_S, declared.every_s):
            done_s.popleft()
        if done_s and now_s - done_s[-1] < declared.every_s:
            raise Refused("rate", f"{name} may be done every {declared.every_s:g} s")
        recent = sum(now_s - one < MINUTE_S for one in done_s)
        if declared.per_minute is not None and recent >= declared.per_minute:
            raise Refused("rate", f"{name} may be done {declared.per_minute} times a minute")

    def _waited_s(self, envelope: Envelope) -> float:
        self._epoch = envelope.epoch
        return self._transit.waited_s(envelope.epoch, envelope.mono_ns / 1e9, self._clock())


def _accepted(skill: Skill, arguments: dict[str, Value]) -> dict[str, Value]:
    """The arguments as they were declared; raises Refused for a wrong name, type or value."""
    names = [parameter.name for parameter in skill.parameters]
    if sorted(arguments) != sorted(names):
        raise Refused("arguments", f"{skill.name} takes {names}, not {sorted(arguments)}")
    accepted = {}
    for parameter in skill.parameters:
        value = parameter.accept(arguments[parameter.name])
        if value is None:
            given = arguments[parameter.name]
            raise Refused("arguments", f"{parameter.name} of {skill.name} cannot be {given!r}")
        accepted[parameter.name] = value
    return accepted


def _call(step: Step) -> str:
    return f"{step.skill}({', '.join(f'{key}={value!r}' for key, value in step.arguments.items())})"
