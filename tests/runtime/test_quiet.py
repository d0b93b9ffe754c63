"""What is not worth saying is not said, when the instruction is due, and what is too old to say."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np
import pytest

from otter_robots.envelope import Envelope, seal
from otter_robots.messages import Abstain, Answer, AnswerDelta, Instruct, Message, Question
from otter_robots.skill import Choice
from otter_robots.topics import Topic
from otter_runtime.bus import Request
from otter_runtime.config import RunConfig, StandingConfig
from otter_runtime.desk import Desk
from otter_runtime.exemplars import NOWHEN
from otter_runtime.frame import Stamp
from otter_runtime.quiet import Quiet
from otter_runtime.sketch import SIDE, packed
from otter_runtime.standing import Standing
from otter_runtime.vitals import Vitals
from otter_runtime.wire import Ask, Piece, Said, Shown

SECOND = 1_000_000_000


def answer(text: str, instruction: str | None = "Watch.", **changes: Any) -> Answer:
    made = Answer(
        text=text,
        frame_ids=(1,),
        captured_mono_ns=0,
        captured_wall_ns=0,
        age_ms=1,
        ttl_ms=1000,
        model_hash="",
        instruction=instruction,
    )
    return msgspec.structs.replace(made, **changes)


def test_what_says_nothing_is_held_back() -> None:
    quiet = Quiet(["Nothing.", "no_action"], repeat=True)
    nothing = [Choice(skill="no_action", text="Stay.", arguments={}, probability=1, likelihood=1,
                      log_likelihood=0)]  # fmt: skip
    held = [
        quiet.holds_back(one)
        for one in (
            answer("nothing"),
            answer("Nothing!"),
            answer("Nothing to see."),
            answer("Go left."),
            answer("Go left."),
            answer("Stay.", choices=tuple(nothing)),
            answer("Nothing", partial=True),
        )
    ]
    assert held == [True, True, False, False, False, True, False]


def test_the_same_is_said_once_until_something_else_was() -> None:
    quiet = Quiet(["Nothing"], repeat=False)
    texts = ["Go.", "Go.", "Stop.", "Go.", "Nothing.", "Go.", "Go."]
    assert [quiet.holds_back(answer(text)) for text in texts] == [
        *(False, True, False, False),
        *(True, False, True),
    ]
    assert not quiet.holds_back(answer("Go.", "Another instruction."))
    assert not Quiet([], repeat=True).listens


@dataclass
class Office:
    """A desk between a brain and a bus that only take notes, at a time of one's choosing."""

    config: RunConfig
    now_ns: int = 100 * SECOND
    asks: list[Ask] = field(default_factory=list)
    told: list[Message] = field(default_factory=list)
    replies: list[Any] = field(default_factory=list)

    def __post_init__(self) -> None:
        config = self.config
        self.standing = Standing(config.instruction, config.interval_s, 1, config.standing)
        self.vitals = Vitals()
        here: Any = self
        self.desk = Desk(
            config, here, here, self.standing, self.vitals, self.publish, lambda: self.now_ns
        )

    def ask(self, ask: Ask) -> None:
        self.asks.append(ask)

    def reply(self, request: Request, message: Any) -> None:
        self.replies.append(message)

    def publish(self, topic: Topic, message: Message) -> Envelope:
        self.told.append(message)
        return seal(message, topic=topic.name, epoch="e", seq=len(self.told))

    def stamp(self, at_s: float) -> Stamp:
        times = dict.fromkeys(("stream_ns", "mono_ns"), round(at_s * SECOND))
        return msgspec.structs.replace(NOWHEN, **times)

    def show(self, at_s: float, level: int) -> bool:
        """Whether the instruction was asked about a frame of this brightness."""
        self.now_ns, before = round(at_s * SECOND), len(self.asks)
        seen = packed(np.full((SIDE, SIDE), level, np.uint8))
        self.desk.instruct(Shown(self.stamp(at_s), 0, True, 1, seen))
        return len(self.asks) > before

    def say(self, text: str, taken_s: float, partial: bool = False) -> Message | None:
        """What is told of an answer to the last ask."""
        said = Said(
            id=self.asks[-1].id,
            text=text,
            confidence=1.0,
            stamps=(self.stamp(taken_s),),
            timing={},
            partial=partial,
        )
        self.desk.said(said, "hash")
        return self.told[-1] if self.told else None


@pytest.mark.parametrize(
    ("when", "asked"),
    [
        ("interval", [True, False, False, True, False, False]),
        ("change", [True, False, True, False, False, True]),
        ("both", [True, False, True, False, True, True]),
    ],
)
def test_it_is_asked_on_an_interval_on_a_change_or_on_both(when: Any, asked: list[bool]) -> None:
    config = RunConfig(instruction=["Watch."], standing=StandingConfig(when=when, change=0.1))
    for ordered in (False, True):
        office = Office(config if not ordered else RunConfig(standing=StandingConfig(change=0.1)))
        if ordered:
            office.standing.replace("Watch.", 1.0, when=when)
        frames = [(0.0, 50), (0.4, 60), (0.8, 90), (1.2, 95), (1.8, 100), (2.1, 130)]
        happened = []
        for at_s, level in frames:
            happened.append(office.show(at_s, level))
            if happened[-1]:
                office.say(f"{at_s}", at_s)
        assert happened == asked


def test_quiet_answers_are_counted_and_nothing_of_them_is_heard() -> None:
    office = Office(RunConfig(instruction=["Watch."], standing=StandingConfig(quiet=["nothing"])))
    office.show(0, 0)
    office.desk.piece(Piece(office.asks[-1].id, 0, "Noth"))
    office.say("Nothing.", 0)
    assert office.told == []
    assert (office.vitals.quiet, office.vitals.answers) == (1, 0)
    office.show(1, 0)
    assert isinstance(office.say("A box.", 1), Answer)


def test_a_question_is_always_answered_and_streamed() -> None:
    office = Office(RunConfig(standing=StandingConfig(quiet=["nothing"], repeat=False)))
    for _ in range(2):
        question = Question(id="q", text="What is there?")
        envelope = seal(question, topic="request", epoch="c", seq=1)
        office.desk.take(Request(b"peer", envelope, question), None)
        office.desk.piece(Piece(office.asks[-1].id, 0, "Noth"))
        assert isinstance(office.told[-1], AnswerDelta)
        assert isinstance(office.say("Nothing.", 100), Answer)


@pytest.mark.parametrize("partial", [False, True])
def test_an_answer_about_too_old_a_frame_is_an_abstention(partial: bool) -> None:
    office = Office(RunConfig(instruction=["Watch."], oldest_ms=4000))
    assert office.show(100, 0)
    assert office.asks[-1].deadline_ns == 104 * SECOND
    office.now_ns = 104 * SECOND
    kept = office.say("Go left.", 100, partial)
    assert isinstance(kept, Answer)
    assert kept.late  # its ttl is 3 s
    office.show(105, 0)
    office.now_ns = 110 * SECOND
    told = office.say("Go left.", 105, partial)
    assert isinstance(told, Abstain)
    assert (told.reason, told.instruction, told.frame_ids) == ("stale", "Watch.", (0,))
    assert "5.0 s old" in told.detail
    assert office.vitals.abstained == 1


def test_an_order_says_when() -> None:
    order = Instruct(text="Watch.", interval_s=1.0, when="change")
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(order), type=Instruct) == order
