"""A run read from a trial's messages: each answer has its question, whoever said it last."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from otter_robots.envelope import seal
from otter_robots.messages import Abstain, Answer, Message, Status
from otter_runtime.compare.reading import run_of
from otter_runtime.frame import Stamp
from otter_runtime.trials.channels import enveloped, ordered, published, told
from otter_runtime.trials.trial import Record
from otter_runtime.wire import Ask, Declined, Ready, Said

GO = "Go?"


def stamp(number: int) -> Stamp:
    return Stamp(
        id=number, scene=0, source="c.avi", index=number, stream_ns=0, mono_ns=0, wall_ns=0
    )


def said(ask: str, text: str, *frames: int) -> Said:
    stamps = tuple(map(stamp, frames))
    return Said(id=ask, text=text, confidence=0.9, stamps=stamps, timing={"total_ms": 3.0})


def answer(text: str, *frames: int, late: bool = False, **whose: str) -> Answer:
    return Answer(
        text=text,
        frame_ids=frames,
        captured_mono_ns=0,
        captured_wall_ns=0,
        age_ms=1.0,
        ttl_ms=1.0,
        model_hash="h",
        source="c.avi",
        source_index=frames[-1],
        late=late,
        **whose,  # type: ignore[arg-type]
    )


def records(*messages: msgspec.Struct) -> Iterator[Record]:
    for order, one in enumerate(messages, 1):
        data = msgspec.json.encode(one)
        topic = ordered(type(one)) if isinstance(one, Ask) else told(type(one))
        if isinstance(one, Message):
            topic = published(type(one))
            data = enveloped(seal(one, topic="answer", epoch="1-a", seq=order), one)
        yield Record(order, topic, order, order, data)


def test_brain_and_bus_are_two_sides_of_one_answer() -> None:
    run = run_of(
        "a",
        records(
            Status(state="starting", model="x", model_hash="x"),
            Ready(model="m", model_hash="hash", frames=1, rate_hz=1, engine={}),
            Status(state="running", model="x", model_hash="x"),
            Ask(id="1", text=GO, standing=True),
            Ask(id="2", text="Where?", question_id="q"),
            said("1", "On.", 1),
            said("2", "There.", 1, 2),
            answer("On.", 1, instruction=GO, late=True),
            answer("There.", 1, 2, question_id="q"),
        ),
    )
    assert (run.model, run.model_hash, run.clock) == ("m", "hash", "device")
    first, second = run.exchanges
    assert (first.question, first.answer, first.late, first.index) == (GO, "On.", True, 1)
    assert (second.question, second.question_id, second.ask) == ("Where?", "q", "2")
    assert (second.frames, second.timing, second.late) == ((1, 2), {"total_ms": 3.0}, False)


def test_what_was_not_worth_saying_counts_and_what_was_too_old_does_not() -> None:
    run = run_of(
        "a",
        records(
            *(Ask(id=str(number), text=GO, standing=True) for number in range(1, 5)),
            said("1", "On.", 1),
            said("2", "On.", 2),  # held back, as it repeats the first
            said("3", "Stop.", 3),
            answer("On.", 1, instruction=GO),
            Abstain(reason="stale", instruction=GO, frame_ids=(3,)),
            Declined("4", "deadline", ""),
            Abstain(reason="deadline", instruction=GO),
        ),
    )
    assert [(one.answer, one.reason) for one in run.exchanges] == [
        ("On.", ""),
        ("On.", ""),
        (None, "stale"),
        (None, "deadline"),
    ]


def test_questions_that_the_brain_never_ended_have_the_front_s_word() -> None:
    run = run_of(
        "a",
        records(
            Abstain(reason="black", question_id="q1"),
            Ask(id="1", text="Where?", question_id="q2"),
            Abstain(reason="restart", question_id="q2"),
            said("7", "Nobody asked.", 1),
        ),
    )
    assert [(one.question, one.reason, one.ask) for one in run.exchanges] == [
        ("question q1", "black", ""),
        ("Where?", "restart", "1"),
    ]


def test_a_trial_from_the_bus_has_only_what_was_published() -> None:
    run = run_of(
        "a",
        records(
            Status(state="running", model="m", model_hash="hash"),
            answer("On.", 1, 2, instruction=GO),
            answer("On.", 3, question_id="q"),
        ),
    )
    assert (run.model, run.model_hash) == ("m", "hash")
    assert [(one.question, one.index) for one in run.exchanges] == [(GO, 2), ("question q", 3)]
