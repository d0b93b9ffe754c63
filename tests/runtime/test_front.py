"""The front with a brain in its own process: what it asks, publishes, and survives."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from otter_robots import endpoints
from otter_robots.envelope import Envelope, seal
from otter_robots.messages import (
    Abstain,
    Ack,
    Answer,
    AnswerDelta,
    Cancel,
    Command,
    Fault,
    Health,
    Instruct,
    Message,
    Question,
    Status,
)
from otter_robots.skill import CANT_SEE, NO_ACTION, Offer, Skill
from otter_robots.topics import Topic
from otter_runtime.brain import LocalBrain
from otter_runtime.bundle import Manifest
from otter_runtime.bus import Bus, Request
from otter_runtime.clock import RealClock
from otter_runtime.config import RunConfig
from otter_runtime.drain import Drain
from otter_runtime.eye import Eye
from otter_runtime.frame import Frame
from otter_runtime.front import BRAIN_DOWN, Front
from otter_runtime.governor import Governor
from otter_runtime.journal import Journal
from otter_runtime.loop import StepLoop
from otter_runtime.sources import Spec, specs
from otter_runtime.standing import Standing
from otter_runtime.wire import Ready

Make = Callable[[list[Spec], RunConfig], Front]


@pytest.fixture
def published() -> list[Message]:
    return []


@pytest.fixture
def make(
    engine: Any, manifest: Manifest, tokenizer: Any, published: list[Message]
) -> Iterator[Make]:
    closing: list[Any] = []

    def begin(sources: list[Spec], config: RunConfig) -> Front:
        folder = tempfile.TemporaryDirectory(prefix="otter-test-")
        path = Path(folder.name)
        journal = Journal(path / "journal.sqlite")
        bus = Bus(endpoints.stream_endpoint(path), endpoints.requests_endpoint(path), journal)
        drain = Drain(sources, config.fast, config.speed)
        loop = StepLoop(engine, manifest, tokenizer, RealClock())
        ready = Ready(model="tiny", model_hash="ab", frames=4, rate_hz=4.0, engine={})
        brain = LocalBrain(loop, ready)
        standing = Standing(config.instruction, config.interval_s, len(sources))
        closing.extend([drain.close, bus.close, folder.cleanup])
        eye = Eye(drain, config.stale_ms)
        return Front(
            config,
            bus,
            eye,
            brain,
            standing,
            Governor(config.governor),
            lambda _, message: published.append(message),
        )

    yield begin
    for close in closing:
        close()


def answers(published: list[Message]) -> list[Answer]:
    return [message for message in published if isinstance(message, Answer)]


def test_in_lock_step_every_nth_frame_is_answered(
    make: Make, published: list[Message], video: Callable[..., Path], engine: Any
) -> None:
    clip = video(frames=9)
    config = RunConfig(fast=True, instruction=["What next?"], interval_s=0.5)
    make(specs([str(clip)], 1.0), config).run()
    assert [answer.source_index for answer in answers(published)] == [0, 2, 4, 6, 8]
    assert all(answer.journalled for answer in answers(published))
    assert engine.calls.count("encode") == 9
    assert engine.calls.count("resample") == 5
    states = [message.state for message in published if isinstance(message, Status)]
    assert states == ["starting", "running", "ended"]


def test_a_wider_camera_rate_is_sampled_to_the_window_rate(
    make: Make, video: Callable[..., Path], engine: Any
) -> None:
    clip = video(frames=60, rate_hz=20.0)
    make(specs([str(clip)], 1.0), RunConfig(fast=True)).run()
    assert engine.calls.count("encode") == 12  # 3 s at 4 Hz


def test_a_frame_that_finds_no_room_waits_for_it(
    make: Make, video: Callable[..., Path], engine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    front = make(specs([str(video(frames=1))], 1.0), RunConfig())
    show, tries = front.brain.show, []

    def show_the_third_time(frame: Frame) -> bool:
        tries.append(frame)
        return len(tries) == 3 and show(frame)

    monkeypatch.setattr(front.brain, "show", show_the_third_time)
    until_s = time.monotonic() + 10
    while "encode" not in engine.calls:
        front.turn()
        assert time.monotonic() < until_s
    assert len(tries) == 3
    assert front.vitals.frames_dropped == 0


def test_a_frame_that_finds_no_brain_waits_for_the_next_one(
    make: Make, video: Callable[..., Path], engine: Any
) -> None:
    front = make(specs([str(video(frames=1))], 1.0), RunConfig())
    until_s = time.monotonic() + 10
    while not front.eye.opened:
        front.turn()
        assert time.monotonic() < until_s
    brain, front.ready = front.ready, None
    while front.eye.newest is None:
        front.turn()
        assert time.monotonic() < until_s
    assert "encode" not in engine.calls
    front.ready = brain
    while "encode" not in engine.calls:
        front.turn()
        assert time.monotonic() < until_s
    assert front.vitals.frames_dropped == 0


def test_a_lost_camera_is_a_fault_and_a_new_scene_when_it_is_back(
    make: Make, published: list[Message], video: Callable[..., Path]
) -> None:
    clip = video(frames=3)
    # A stream's address is live: it has no end, so when it stops it is lost, and opened again.
    front = make([Spec(f"file://{clip}")], RunConfig(instruction=["What next?"]))
    until_s = time.monotonic() + 10
    while front.eye.newest is None or front.eye.newest.scene < 1:
        front.turn()
        assert time.monotonic() < until_s
    faults = [message for message in published if isinstance(message, Fault)]
    assert faults[0].code == "camera-lost"
    assert "stopped giving frames" in faults[0].detail
    front.stop()
    front.run()
    assert published[-1] == Status(
        state="ended",
        detail="interrupted",
        model="tiny",
        model_hash="ab",
        source=f"file://{clip}",
        instruction="What next?",
        journalled=True,
    )


def test_a_stop_pauses_the_instruction_and_not_the_questions(
    make: Make, published: list[Message], video: Callable[..., Path]
) -> None:
    clip = specs([str(video(frames=9))], 1.0)
    config = RunConfig(fast=True, instruction=["What next?"], interval_s=0.25)
    front = make(clip, config)
    order(front, Command(name="stop"))
    see_a_frame(front)
    order(front, Question(id="q1", text="Where?"))
    front.run()
    assert [answer.question_id for answer in answers(published)] == ["q1"]
    assert [m.name for m in published if isinstance(m, Command)] == ["stop"]
    assert all(m.stopped for m in published if isinstance(m, Health))


def test_a_resume_ends_a_stop(
    make: Make, published: list[Message], video: Callable[..., Path]
) -> None:
    config = RunConfig(fast=True, instruction=["What next?"], interval_s=0.25)
    front = make(specs([str(video(frames=9))], 1.0), config)
    for name in ("stop", "wave", "resume"):
        order(front, Command(name=name))
    front.run()
    assert len(answers(published)) == 9
    assert not any(m.stopped for m in published if isinstance(m, Health))


def test_only_who_asked_a_question_cancels_it(
    make: Make,
    published: list[Message],
    video: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    front = make(specs([str(video(frames=9))], 1.0), RunConfig(fast=True))
    see_a_frame(front)
    order(front, Question(id="q1", text="Where?"), key="tablet's")
    refusals: list[Ack] = []
    monkeypatch.setattr(front.bus, "refuse", lambda _, refusal: refusals.append(refusal))
    order(front, Cancel(question_id="q1"), key="another's")
    assert [refusal.reason for refusal in refusals] == ["denied"]
    front.run()
    assert [answer.question_id for answer in answers(published)] == ["q1"]


def test_who_asked_a_question_cancels_it(
    make: Make, published: list[Message], video: Callable[..., Path]
) -> None:
    front = make(specs([str(video(frames=9))], 1.0), RunConfig(fast=True))
    see_a_frame(front)
    order(front, Question(id="q1", text="Where?"), key="tablet's")
    order(front, Cancel(question_id="q1"), key="tablet's")
    front.run()
    assert answers(published) == []
    assert [m.question_id for m in published if isinstance(m, Abstain)] == ["q1"]


OFFER = Offer(
    skills=(
        Skill(name="left", texts=("Turn left.",)),
        Skill(name="stop", texts=("Stop.",), affordance=0.0),
    )
)


def test_an_instruction_among_skills_is_answered_by_one_of_them(
    make: Make, published: list[Message], video: Callable[..., Path]
) -> None:
    front = make(specs([str(video())], 1.0), RunConfig())
    see_a_frame(front)
    order(front, Instruct(text="What next?", interval_s=0.25, skills=OFFER))
    while not answers(published):
        front.turn()
    answer = answers(published)[0]
    assert {choice.skill for choice in answer.choices} == {"left", "stop", NO_ACTION, CANT_SEE}
    assert answer.text == answer.choices[0].text != "Stop."
    assert answer.confidence == pytest.approx(answer.choices[0].probability)
    order(front, Instruct(text="And now?", interval_s=0.25))
    while answers(published)[-1].instruction != "And now?":
        front.turn()
    assert answers(published)[-1].choices == ()


def test_skills_that_cannot_be_told_apart_are_refused(
    make: Make, video: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    front = make(specs([str(video())], 1.0), RunConfig())
    see_a_frame(front)
    replies: list[Any] = []
    monkeypatch.setattr(front.bus, "reply", lambda _, message, *parts: replies.append(message))
    twice = Offer(skills=(Skill(name="a", texts=("Go.",)), Skill(name="b", texts=("Go.",))))
    order(front, Question(id="q", text="What?", skills=twice))
    order(front, Instruct(text="What?", interval_s=1.0, skills=twice))
    assert [(reply.ok, reply.reason) for reply in replies] == [(False, "skills")] * 2
    assert "two skills say 'Go.'" in replies[0].detail
    assert not front.desk.busy


def see_a_frame(front: Front) -> None:
    until_s = time.monotonic() + 20
    while not front.vitals.frames:
        front.turn()
        assert time.monotonic() < until_s


def order(front: Front, message: Message, key: str = "") -> None:
    """As if it had come over the bus and been let through; nobody is there for the Ack."""
    request = Request(b"peer", seal(message, topic="request", epoch="e", seq=1), message, key=key)
    front.desk.take(request, None)


def test_the_end_is_published_although_nobody_reads_the_output(
    make: Make, published: list[Message], video: Callable[..., Path]
) -> None:
    front = make(specs([str(video())], 1.0), RunConfig(fast=True, instruction=["What next?"]))
    on_the_bus: list[Message] = []
    publish = front.bus.publish

    def leave_at_the_first_delta(_: Envelope, message: Message) -> None:
        published.append(message)
        if isinstance(message, AnswerDelta):
            raise BrokenPipeError

    def note(topic: Topic, message: Message, blob: bytes = b"") -> Envelope:
        on_the_bus.append(message)
        return publish(topic, message, blob)

    front._say = leave_at_the_first_delta
    front.bus.publish = note  # type: ignore[method-assign]
    with pytest.raises(BrokenPipeError):
        front.run()
    assert isinstance(published[-1], AnswerDelta)
    abstain, ended = on_the_bus[-2:]
    assert isinstance(abstain, Abstain)
    assert isinstance(ended, Status)
    assert (ended.state, ended.detail) == ("ended", "the reader of its output left")


def test_the_heartbeat_keeps_its_rate(
    make: Make, published: list[Message], monkeypatch: pytest.MonkeyPatch
) -> None:
    front = make([Spec("0")], RunConfig())
    clock_ns = 10_300_000_000
    monkeypatch.setattr(time, "monotonic_ns", lambda: clock_ns)
    for _ in range(100):  # 5 s of turns of 50 ms
        front._beat()
        clock_ns += 50_000_000
    beats = [message for message in published if isinstance(message, Health)]
    assert len(beats) == 6  # at 10.3, 11, 12, 13, 14 and 15 s


def test_what_one_turn_says_is_one_transaction(
    make: Make, published: list[Message], video: Callable[..., Path], monkeypatch: Any
) -> None:
    front = make(specs([str(video())], 1.0), RunConfig())
    transactions: list[int] = []
    append_all = front.bus._journal.append_all

    def count(messages: Any) -> None:
        transactions.append(len(messages))
        append_all(messages)

    questions = [
        Request(b"peer", seal(question, topic="request", epoch="e", seq=number), question)
        for number in range(5)
        for question in [Question(id=str(number), text="Where?")]
    ]
    front.turn()  # the brain comes up
    front._down = BRAIN_DOWN  # so that each of them is declined at once
    monkeypatch.setattr(front.bus._journal, "append_all", count)
    monkeypatch.setattr(front.bus, "poll", lambda _: questions)
    front.turn()
    assert transactions[0] == 5
    abstained = [message for message in published if isinstance(message, Abstain)]
    assert [(one.question_id, one.journalled) for one in abstained] == [
        (str(number), True) for number in range(5)
    ]
