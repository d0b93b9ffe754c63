"""Deadlines: who goes first, who ends in time, how soon a first token comes, what steps cost."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from otter_runtime.bundle import Manifest
from otter_runtime.clock import VirtualClock
from otter_runtime.cost import REMEMBERED, StepCost
from otter_runtime.frame import Frame
from otter_runtime.loop import CHUNK, StepLoop
from otter_runtime.wire import Ask, Declined, Piece, Said

QUESTION, PLAN = "Where is the red box?", "Go to the red box. What should I do next?"
LONG = "Tell me everything that you can see, " * 3
MS = 1_000_000
COST = {"encode": 40.0, "resample": 5.0, "prefill": 1.0, "decode": 10.0}
MakeFrame = Callable[..., Frame]


class Timed:
    """A loop on a virtual clock, and when each of its events was told."""

    def __init__(self, engine: Any, manifest: Manifest, tokenizer: Any) -> None:
        self.clock = VirtualClock(COST)
        self.loop = StepLoop(engine, manifest, tokenizer, self.clock)
        self.told: list[tuple[int, Any]] = []

    def ask(self, name: str, text: str = QUESTION, ms: float | None = None, **more: Any) -> None:
        deadline_ns = None if ms is None else self.clock.now_ns() + round(ms * MS)
        self.loop.ask(Ask(id=name, text=text, deadline_ns=deadline_ns, **more))

    def step(self, times: int = 1) -> None:
        for _ in range(times):
            events = self.loop.step()
            self.told += [(self.clock.now_ns(), event) for event in events]

    def drain(self) -> None:
        while not self.loop.idle:
            self.step()

    def ends(self) -> dict[str, tuple[int, Any]]:
        ends = [(at, e) for at, e in self.told if isinstance(e, (Said, Declined))]
        return {event.id: (at, event) for at, event in ends}

    def first(self, name: str) -> int:
        return next(at for at, e in self.told if isinstance(e, Piece) and e.id == name)


@pytest.fixture
def timed(engine: Any, manifest: Manifest, tokenizer: Any, frame: MakeFrame) -> Timed:
    made = Timed(engine, manifest, tokenizer)
    made.loop.show(frame(0))
    made.step()
    return made


def test_what_is_said_by_the_deadline_is_published_before_it(timed: Timed) -> None:
    timed.ask("full")
    timed.drain()
    begun_ns = timed.clock.now_ns()
    _, full = timed.ends()["full"]
    timed.ask("cut", ms=55)
    timed.drain()
    at, cut = timed.ends()["cut"]
    assert cut.partial
    assert cut.text
    assert full.text.startswith(cut.text)
    assert begun_ns + 45 * MS <= at < begun_ns + 55 * MS  # no step more would have fitted


def test_what_cannot_have_a_first_word_in_time_is_declined_at_once(
    timed: Timed, engine: Any
) -> None:
    begun_ns, calls = timed.clock.now_ns(), len(engine.calls)
    timed.ask("hopeless", LONG, ms=100)  # its prompt alone takes longer
    timed.drain()
    at, declined = timed.ends()["hopeless"]
    assert (declined.reason, declined.id) == ("deadline", "hopeless")
    assert at < begun_ns + 100 * MS
    assert engine.calls[calls:] == ["resample"]


def test_the_earlier_deadline_goes_first_and_priority_before_it(timed: Timed) -> None:
    timed.ask("late", ms=9000)
    timed.ask("none")
    timed.ask("soon", ms=4000)
    timed.ask("urgent", ms=9000, priority=1)
    timed.drain()
    assert list(timed.ends()) == ["urgent", "soon", "late", "none"]
    assert not any(event.partial for _, event in timed.ends().values())


def test_who_waits_behind_another_says_what_it_has_in_time(timed: Timed) -> None:
    timed.ask("plan", PLAN, ms=190, standing=True)
    timed.step(5)
    deadline_ns = timed.loop._schedule.jobs[0].ask.deadline_ns
    assert deadline_ns is not None
    timed.ask("question", LONG)
    timed.drain()
    at, plan = timed.ends()["plan"]
    assert plan.partial
    assert at < deadline_ns
    assert list(timed.ends()) == ["plan", "question"]


def test_a_frame_waits_for_an_answer_that_it_would_cut_off(
    timed: Timed, engine: Any, frame: MakeFrame
) -> None:
    timed.ask("tight", ms=150)
    timed.step(2)
    timed.loop.show(frame(1))
    before = len(engine.calls)
    timed.drain()
    _, tight = timed.ends()["tight"]
    calls = engine.calls[before:]
    # The frame goes while there is time for both, or after the end; never in the last moments.
    left_ms = [COST["decode"] * calls[calls.index("encode") :].count("step")]
    assert "encode" in calls
    assert left_ms == [0] or left_ms[0] >= COST["decode"]
    assert tight.text


def test_one_tight_question_passes_a_frame_and_no_second_one(
    timed: Timed, engine: Any, frame: MakeFrame
) -> None:
    timed.loop.show(frame(1))
    for number in range(6):
        timed.ask(str(number), ms=85)
    before = len(engine.calls)
    timed.drain()
    calls = engine.calls[before:]
    assert sum(call.startswith("prefill") for call in calls[: calls.index("encode")]) == 1


@pytest.mark.parametrize("after", range(1, 14))
def test_a_question_within_a_long_answer_has_its_first_token_in_time(
    engine: Any, manifest: Manifest, tokenizer: Any, frame: MakeFrame, after: int
) -> None:
    """Rest of the step in flight + resample + prefill + one decode step, wherever it comes."""
    timed = Timed(engine, manifest, tokenizer)
    timed.loop.show(frame(0))
    timed.ask("plan", LONG, standing=True)
    timed.step(after)
    timed.loop.show(frame(after))
    in_flight_ns = timed.clock.now_ns()
    timed.step()  # the step in flight when the question comes
    rest_ns = timed.clock.now_ns() - in_flight_ns
    timed.ask("question")
    timed.drain()
    work = timed.ends()["question"][1].timing
    prefill_ns = round(work["prefill_ms"] * MS)
    resample_ns = round(COST["resample"] * manifest.window.frames * MS)
    bound_ns = rest_ns + resample_ns + prefill_ns + round(COST["decode"] * MS)
    assert timed.first("question") - in_flight_ns <= bound_ns


asks = st.tuples(
    st.sampled_from(["ask", "standing"]), st.sampled_from([QUESTION, PLAN, LONG]),
    st.one_of(st.none(), st.integers(1, 600)), st.integers(-1, 1),
)  # fmt: skip
happenings = st.lists(
    st.one_of(
        asks,
        st.tuples(st.just("steps"), st.integers(1, 9)),
        st.tuples(st.just("frame"), st.just(0)),
    ),
    min_size=3,
    max_size=20,
)


@given(schedule=happenings)
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_nothing_ends_after_its_deadline(
    schedule: list[tuple[Any, ...]],
    engine: Any,
    manifest: Manifest,
    tokenizer: Any,
    frame: MakeFrame,
) -> None:
    timed = Timed(engine, manifest, tokenizer)
    timed.loop.show(frame(0))
    timed.step()
    deadlines: dict[str, int | None] = {}
    for number, (what, *how) in enumerate(schedule):
        if what == "frame":
            timed.loop.show(frame(number + 1))
        elif what == "steps":
            timed.step(how[0])
        else:
            text, ms, priority = how
            timed.ask(str(number), text, ms, priority=priority, standing=what == "standing")
            deadlines[str(number)] = None if ms is None else timed.clock.now_ns() + ms * MS
    timed.drain()
    ends = timed.ends()
    assert ends.keys() == deadlines.keys()
    for name, deadline_ns in deadlines.items():
        at, event = ends[name]
        assert deadline_ns is None or at < deadline_ns
        assert deadline_ns is not None or not getattr(event, "partial", False)


def test_a_cost_is_the_table_and_then_the_median_of_its_kind() -> None:
    cost = StepCost({"prefill": 2.0})
    assert cost.ns("prefill", 3) == 6 * MS
    assert cost.ns("decode", 1) == 10 * MS
    assert cost.ns("resample", 0) == 0
    for took in (9, 8, 700, 8, 9):
        cost.took("prefill", CHUNK, took * MS)
    assert cost.ns("prefill", CHUNK) == 9 * MS
    assert cost.ns("prefill", CHUNK * 3 // 4) == pytest.approx(9 * MS * 3 / 4, abs=1)
    assert cost.ns("prefill", 1) == 2 * MS
    for _ in range(REMEMBERED):
        cost.took("prefill", CHUNK, 20 * MS)
    assert cost.ns("prefill", CHUNK) == 20 * MS
