"""Nothing moves that should not: each refusal of the guard, its stop, heartbeat and dry run."""

from __future__ import annotations

import time
from typing import Any

import pytest

from otter_robots.envelope import Envelope, seal
from otter_robots.errors import UserError
from otter_robots.guard import Guard, Refused
from otter_robots.messages import Answer, Command, Health, Message, Stamp
from otter_robots.skill import CANT_SEE, NO_ACTION, Choice, Value
from otter_robots.skills import Range, Registry, condition, skill
from otter_robots.transit import DRIFT, Transit


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


class Rover:
    def __init__(self) -> None:
        self.clear = True
        self.driven: list[float] = []

    @skill(
        "Go forward {metres} m.",
        metres=Range(low=0.5, high=3, step=0.5),
        requires="path_clear",
        every_s=0.5,
        per_minute=3,
    )
    def forward(self, metres: float) -> float:
        self.driven.append(metres)
        return metres

    @skill("Stand up.")
    def stand(self) -> None: ...

    @condition
    def path_clear(self) -> bool:
        return self.clear


class Scene:
    """A guard, its robot, and a runtime whose clock is a day behind the robot's."""

    def __init__(self, **settings: Any) -> None:
        self.clock, self.rover = Clock(), Rover()
        self.told: list[str] = []
        self.stops: list[str] = []
        self.guard = Guard(
            Registry.of(self.rover),
            clock=self.clock,
            say=self.told.append,
            on_stop=self.stops.append,
            **settings,
        )
        self.seq = 0
        self.beat()

    def sent(self, message: Message, queued_s: float = 0.0, **fields: Any) -> Envelope:
        self.seq += 1
        sealed = seal(message, topic="t", epoch="1", seq=self.seq)
        mono_ns = round((self.clock.now_s - queued_s - 86_400) * 1e9)
        made = {name: getattr(sealed, name) for name in sealed.__struct_fields__}
        return Envelope(**(made | {"mono_ns": mono_ns} | fields))

    def beat(self, queued_s: float = 0.0, origin: str = "live") -> None:
        health = Health(uptime_s=1)
        self.guard.hear(self.sent(health, queued_s, origin=origin), health)

    def told_to(self, name: str, queued_s: float = 0.0, **fields: Any) -> None:
        command = Command(name=name, stamp=Stamp(client="desk"))
        self.guard.hear(self.sent(command, queued_s, **fields), command)

    def check(self, message: Answer, **fields: Any) -> Any:
        return self.guard.check(self.sent(message, **fields), message)

    def refusal(self, message: Answer, **fields: Any) -> str:
        with pytest.raises(Refused) as caught:
            self.check(message, **fields)
        return caught.value.reason


def answer(text: str = "Go forward 1.5 m.", **fields: Any) -> Answer:
    made: dict[str, Any] = {
        "frame_ids": (1,),
        "captured_mono_ns": 0,
        "captured_wall_ns": 0,
        "age_ms": 100.0,
        "ttl_ms": 1000.0,
        "model_hash": "m",
        "confidence": 0.75,
    }
    return Answer(text=text, **(made | fields))


def chosen(skill: str, **arguments: Value) -> Answer:
    choice = Choice(
        skill=skill,
        text="x",
        arguments=arguments,
        probability=0.9,
        likelihood=0.9,
        log_likelihood=-1,
    )
    return answer("x", choices=(choice,))


def test_a_good_answer_becomes_a_call_and_is_carried_out() -> None:
    scene = Scene()
    step = scene.check(answer())
    assert (step.skill, step.arguments, step.acts) == ("forward", {"metres": 1.5}, True)
    assert (step.confidence, step.age_ms) == (0.75, pytest.approx(100, abs=1))
    assert scene.guard.perform(step) == 1.5
    assert scene.rover.driven == [1.5]
    step = scene.check(chosen("stand"))
    assert (step.skill, step.arguments) == ("stand", {})


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (answer(partial=True), "partial"),
        (answer(late=True), "late"),
        (answer(age_ms=1001.0), "old"),
        (answer("Fly."), "unknown-skill"),
        (answer("Go forward 9.5 m."), "unknown-skill"),
        (chosen("fly"), "unknown-skill"),
        (chosen("forward", metres=9.5), "arguments"),
        (chosen("forward", metres="1.5"), "arguments"),
        (chosen("forward"), "arguments"),
        (chosen("stand", metres=1.0), "arguments"),
        (answer(confidence=0.3), "unsure"),
        (answer(confidence=None), "unsure"),
    ],
)
def test_what_is_refused(message: Answer, reason: str) -> None:
    scene = Scene(min_confidence=0.5)
    assert scene.refusal(message) == reason
    assert scene.rover.driven == []
    assert reason in scene.told[-1]
    scene.check(answer())  # and a good one passes after it


def test_a_recording_moves_nothing() -> None:
    scene = Scene()
    assert scene.refusal(answer(), origin="replay") == "replay"
    silent = Scene()
    silent.clock.now_s += 60
    silent.beat(origin="replay")
    assert silent.refusal(answer()) == "stopped"


def test_an_answer_passes_once() -> None:
    scene = Scene()
    message = answer("Stand up.")
    first, second = scene.sent(message), scene.sent(message)
    scene.guard.check(second, message)
    for envelope in (second, first):
        with pytest.raises(Refused, match="repeated"):
            scene.guard.check(envelope, message)


def test_an_earlier_run_of_the_runtime_moves_nothing() -> None:
    scene = Scene()
    message = answer("Stand up.")
    captured = scene.sent(message)
    health = Health(uptime_s=1)
    scene.guard.hear(scene.sent(health, epoch="2"), health)
    with pytest.raises(Refused, match="earlier run"):
        scene.guard.check(captured, message)
    scene.check(message, epoch="2")
    scene.told_to("resume")  # of epoch 1
    scene.told_to("stop")
    assert scene.guard.stopped
    scene.guard.resume()  # e.g. because the runtime lost its state
    scene.beat()
    scene.check(message)


def test_time_in_a_queue_counts_as_age() -> None:
    scene = Scene()
    assert scene.check(answer("Stand up."), queued_s=0.5).age_ms == pytest.approx(600, abs=1)
    assert scene.refusal(answer("Stand up."), queued_s=1.0) == "old"
    strict = Scene(max_age_ms=300.0)
    assert strict.refusal(answer("Stand up."), queued_s=0.25) == "old"
    strict.check(answer("Stand up."), queued_s=0.15)


def test_preconditions_hold_at_the_moment_of_the_call() -> None:
    scene = Scene()
    scene.rover.clear = False
    assert scene.refusal(answer()) == "precondition"
    scene.rover.clear = True
    scene.check(answer())
    del scene.rover.clear  # a condition that raises does not hold
    assert scene.refusal(answer()) == "precondition"
    assert "AttributeError" in scene.told[-1]


def test_limits_hold_skill_by_skill() -> None:
    scene = Scene(silent_s=None)
    scene.check(answer())
    assert scene.refusal(answer()) == "rate"
    scene.check(answer("Stand up."))
    for _ in range(2):
        scene.clock.now_s += 0.5
        scene.check(answer())
    scene.clock.now_s += 0.5
    assert scene.refusal(answer()) == "rate"
    scene.clock.now_s += 58.5
    scene.check(answer())


def test_doing_nothing_always_passes_and_does_nothing() -> None:
    scene = Scene()
    for text, name in (("Do nothing.", NO_ACTION), ("I can't see it.", CANT_SEE)):
        for message in (answer(text), chosen(name)):
            step = scene.check(message)
            assert (step.skill, step.acts) == (name, False)
            assert scene.guard.perform(step) is None


def test_a_dry_run_checks_everything_and_moves_nothing() -> None:
    scene = Scene(dry_run=True)
    step = scene.check(answer())
    assert step.dry_run
    assert scene.guard.perform(step) is None
    assert scene.rover.driven == []
    assert scene.told[-1] == "would do: forward(metres=1.5)"
    assert scene.refusal(answer()) == "rate"


def test_a_stop_holds_until_it_is_resumed() -> None:
    scene = Scene()
    step = scene.check(answer())
    scene.guard.stop("the red button")
    scene.guard.stop("again")
    assert scene.stops == ["the red button"]
    with pytest.raises(Refused, match="red button"):
        scene.guard.perform(step)
    scene.clock.now_s += 1
    scene.beat()
    assert scene.refusal(answer()) == "stopped"
    assert scene.refusal(answer("Do nothing.")) == "stopped"
    scene.guard.resume()
    assert scene.refusal(answer()) == "heartbeat"
    scene.beat()
    assert scene.guard.perform(scene.check(answer())) == 1.5
    assert not scene.guard.stopped


def test_a_command_stops_and_resumes_whatever_the_model_says() -> None:
    scene = Scene()
    scene.told_to("stop", queued_s=60)  # better late than never
    scene.told_to("stop", origin="replay")
    assert scene.stops == ["desk gave the command"]
    scene.told_to("resume", queued_s=3)
    scene.told_to("resume", origin="replay")
    scene.told_to("dance")
    assert scene.guard.stopped
    scene.told_to("resume")
    assert not scene.guard.stopped
    scene.beat()
    scene.check(answer())


def test_a_stop_called_here_is_not_ended_from_afar() -> None:
    for first in ("command", "call"):
        scene = Scene()
        if first == "command":
            scene.told_to("stop")
        scene.guard.stop("the red button")
        scene.told_to("stop")
        scene.told_to("resume")
        assert scene.guard.stopped
        scene.guard.resume()
        assert not scene.guard.stopped


def test_the_motors_are_stopped_before_anybody_is_told() -> None:
    def say(line: str) -> None:
        assert stopped, "told first"
        raise BrokenPipeError

    stopped: list[str] = []
    guard = Guard(Registry.of(Rover()), on_stop=stopped.append, say=say)
    with pytest.raises(BrokenPipeError):
        guard.stop("the red button")
    assert stopped == ["the red button"]
    assert guard.stopped


def test_a_runtime_that_is_stopped_says_so_to_who_comes_late() -> None:
    scene = Scene()
    health = Health(uptime_s=1, stopped=True)
    scene.guard.hear(scene.sent(health), health)
    assert scene.stops == ["the runtime was told to stop"]


def test_a_lost_heartbeat_stops_and_its_return_does_not_resume() -> None:
    scene = Scene()
    scene.clock.now_s += 2.9
    assert not scene.guard.stopped
    scene.clock.now_s += 0.2
    assert scene.guard.stopped
    assert scene.stops == ["no heartbeat for 3.1 s"]
    scene.beat()
    assert scene.refusal(answer()) == "stopped"


def test_a_heartbeat_from_a_queue_is_no_sign_of_life() -> None:
    scene = Scene()
    scene.clock.now_s += 2.5
    scene.beat(queued_s=2.0)
    scene.clock.now_s += 1.2
    assert scene.guard.stopped


def test_before_the_first_heartbeat_nothing_moves_unless_that_is_off() -> None:
    guard = Guard(Registry.of(Rover()))
    message = answer()
    envelope = seal(message, topic="answer", epoch="1", seq=1)
    with pytest.raises(Refused) as caught:
        guard.check(envelope, message)
    assert caught.value.reason == "heartbeat"
    assert not guard.stopped
    assert Guard(Registry.of(Rover()), silent_s=None).check(envelope, message).acts


def test_a_skill_that_nothing_carries_out_is_the_users_mistake() -> None:
    guard = Guard(Registry.parse({"skills": {"stand": {"say": "Stand up."}}}), silent_s=None)
    message = answer("Stand up.")
    step = guard.check(seal(message, topic="answer", epoch="1", seq=1), message)
    with pytest.raises(UserError, match="an action for it"):
        guard.perform(step)


@pytest.mark.parametrize("drift", [-DRIFT / 2, 0.0, DRIFT / 2])
def test_clocks_that_drift_apart_do_not_look_like_a_queue(drift: float) -> None:
    transit = Transit()
    waits = [transit.waited_s("e", 7 + at_s * (1 + drift), at_s) for at_s in range(0, 86_400, 10)]
    assert max(waits) < 0.01
    # and a queue that grows by a tenth of the time does
    late = [transit.waited_s("e", 7 + at_s * 0.9, at_s) for at_s in range(86_400, 86_500, 10)]
    assert late[-1] > 5


def test_on_one_machine_the_first_message_tells_its_age_too() -> None:
    transit = Transit(same_clock=True)
    assert transit.waited_s("a", 10.0, 19.5) == 9.5
    assert transit.waited_s("a", 10.0, 9.0) == 0
    message = answer("Stand up.")
    envelope = seal(message, topic="answer", epoch="1", seq=1)
    late = Guard(
        Registry.of(Rover()), silent_s=None, same_clock=True, clock=lambda: time.monotonic() + 2
    )
    with pytest.raises(Refused) as caught:
        late.check(envelope, message)
    assert caught.value.reason == "old"


def test_a_new_epoch_has_a_new_clock() -> None:
    transit = Transit()
    assert transit.waited_s("a", 1.0, 5.0) == 0
    assert transit.waited_s("a", 2.0, 7.0) == pytest.approx(1, abs=0.01)
    assert transit.waited_s("b", 1.0, 9.0) == 0
    transit.forget()
    assert transit.waited_s("b", 1.0, 19.0) == 0
