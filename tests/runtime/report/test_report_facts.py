"""Figures of a report, from moments whose figures are known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from otter_robots.messages import (
    Abstain,
    Answer,
    Command,
    Fault,
    Governor,
    Health,
    Message,
    Question,
    Stamp,
)
from otter_runtime.errors import UserError
from otter_runtime.frame import Stamp as FrameStamp
from otter_runtime.report.counts import counts
from otter_runtime.report.frames import frames, rates
from otter_runtime.report.integrity import TORN, notes, state
from otter_runtime.report.judged import judge
from otter_runtime.report.latency import stages, timing
from otter_runtime.report.reading import Reading
from otter_runtime.report.troubles import outages, troubles
from otter_runtime.report.worst import worst
from otter_runtime.trials.channels import Show, ordered, published, requested, told
from otter_runtime.trials.check import FileReport, Harm, Report
from otter_runtime.trials.trial import Record
from otter_runtime.wire import Ask, Shown

SECOND = 1_000_000_000


class Told:
    """A reading that grows by what is said, at seconds after a beginning."""

    def __init__(self) -> None:
        self.reading = Reading()
        self._order = 0

    def at(self, seconds: float, what: msgspec.Struct, wall_s: float | None = None) -> None:
        self._order += 1
        topic = (
            requested(type(what)) if isinstance(what, Question)
            else published(type(what)) if isinstance(what, Message)
            else told(type(what)) if isinstance(what, Shown)
            else ordered(type(what))
        )  # fmt: skip
        ns = 10 * SECOND + round(seconds * SECOND)
        wall_ns = ns if wall_s is None else 10 * SECOND + round(wall_s * SECOND)
        said: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(what))
        data = msgspec.json.encode(said | {"mono_ns": ns, "wall_ns": wall_ns})
        self.reading.take(Record(self._order, topic, ns, ns, data))


@pytest.fixture
def told_() -> Told:
    begun = Told()
    begun.at(0, Health(uptime_s=0))
    return begun


def an_answer(text: str = "Stop: it is there.", **more: Any) -> Answer:
    known: dict[str, Any] = {
        "text": text, "frame_ids": (), "captured_mono_ns": 1, "captured_wall_ns": 1, "age_ms": 50.0,
        "ttl_ms": 100.0, "model_hash": "ab", "instruction": "Go?",
    }  # fmt: skip
    return Answer(**(known | more))


def shown(frame_id: int, **more: Any) -> Show:
    stamp = FrameStamp(
        id=frame_id, scene=0, source="clip.avi", index=0, stream_ns=0, mono_ns=0, wall_ns=0
    )
    return Show(stamp=stamp, height=1, width=1, **more)


def test_what_stages_leave_of_the_time_is_waiting() -> None:
    took = {"resample_ms": 2.0, "prefill_ms": 3.0, "decode_ms": 10.0, "total_ms": 20.0}
    found = timing(an_answer(timing=took))
    assert found == {
        "age": 50.0, "resample": 2.0, "prefill": 3.0, "decode": 10.0, "whole answer": 20.0,
        "wait": 5.0,
    }  # fmt: skip
    assert timing(an_answer()) == {"age": 50.0}


def test_percentiles_of_stages(told_: Told) -> None:
    for number in range(1, 101):
        told_.at(number, an_answer(timing={"total_ms": float(number)}))
        told_.at(number, Shown(shown(number).stamp, 0, True, 1, took_ms=number / 10))
    found = {stage.name: stage for stage in stages(told_.reading)}
    whole, encode = found["whole answer"], found["encode"]
    assert (whole.count, whole.p50, whole.p95, whole.p99, whole.most) == (100, 50, 95, 99, 100)
    assert (encode.count, encode.p50, encode.most) == (100, 5.0, 10.0)
    assert "prefill" not in found


def test_counts(told_: Told) -> None:
    told_.at(1, Ask(id="1", text="Go?", standing=True))
    told_.at(1, Ask(id="2", text="Where?"))
    told_.at(1, Question(id="q", text="Where?"))
    told_.at(2, an_answer(late=True))
    told_.at(3, Abstain(reason="camera-silent", question_id="q"))
    told_.at(4, Ask(id="3", text="Go?", standing=True))
    found = counts(told_.reading, judge(None))
    assert (found.asked, found.questions, found.answered, found.abstained) == (3, 1, 1, 1)
    assert (found.late, found.open, found.reasons) == (1, 1, {"camera-silent": 1})


def test_without_requests_nobody_knows_what_was_asked(told_: Told) -> None:
    told_.at(2, an_answer())
    found = counts(told_.reading, judge(None))
    assert (found.asked, found.questions, found.open, found.answered) == (None, None, None, 1)


def test_a_fault_lasts_until_it_is_cleared(told_: Told) -> None:
    told_.at(1, Fault(code="brain", detail="killed"))
    told_.at(2, Fault(code="brain", detail="killed again"))
    told_.at(3, Fault(code="camera-lost", detail="gone"))
    told_.at(4, Fault(code="brain", detail="a new one", cleared=True))
    told_.at(5, Command(name="stop", stamp=Stamp(client="phone")))
    told_.at(6, Command(name="resume"))
    told_.at(7, Governor(step=1, steps=2, reason="hot"))
    told_.at(8, Governor(step=0, steps=2, reason="cool"))
    told_.at(8, Fault(code="thermal", detail="which the governor said"))
    found = [(one.kind, one.code, one.begin_s, one.end_s) for one in troubles(told_.reading)]
    assert found == [
        ("fault", "brain", 1, 4),
        ("fault", "camera-lost", 3, None),
        ("stop", "stop", 5, 6),
        ("governor", "step 1 of 2", 7, 8),
    ]
    brain = troubles(told_.reading)[0]
    assert (brain.detail, brain.recovery) == ("killed", "a new one")
    assert outages(troubles(told_.reading), 10.0) == [(1, 10.0)]


def test_gaps_and_rates(told_: Told) -> None:
    for at_s in (0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0, 5.0, 5.25):
        told_.at(at_s, shown(round(at_s * 4)))
    told_.at(2.5, Fault(code="camera-lost", detail="gone"))
    told_.at(4.5, Fault(code="camera-lost", detail="back", cleared=True))
    told_.at(6, Health(uptime_s=6, frames=12, frames_dropped=3, recorded=9, unrecorded=1))
    found = frames(told_.reading, troubles(told_.reading))
    assert (found.shown, found.encoded, found.dropped, found.unrecorded) == (9, 12, 3, 1)
    assert [(gap.begin_s, gap.end_s, gap.why) for gap in found.gaps] == [(2.0, 5.0, "camera-lost")]
    told_.at(6.5, Governor(step=1, steps=1, reason="hot", rate_hz=0.5))
    for number, at_s in enumerate((7.0, 9.0, 11.0, 18.0)):
        told_.at(at_s, shown(30 + number))
    found = frames(told_.reading, troubles(told_.reading))
    # What the governor slowed is no gap.
    assert [gap.begin_s for gap in found.gaps] == [2.0, 11.0]
    assert rates(told_.reading) == [(0.0, 6.0, 2.0, 0.5)]


def test_the_worst_are_taken_in_turns(told_: Told) -> None:
    told_.at(1, shown(1))
    for number in range(20):
        told_.at(2 + number, Abstain(reason="camera-black" if number % 2 else "stale"))
    told_.at(30, an_answer("late", late=True, age_ms=500.0, frame_ids=(1, 7), confidence=0.9))
    told_.at(31, shown(7))
    told_.at(32, an_answer("unsure", confidence=0.2))
    told_.at(33, an_answer("slow", timing={"total_ms": 900.0}, confidence=0.95))
    told_.at(33.5, an_answer("fine", confidence=0.97))
    told_.at(34, Fault(code="brain", detail="killed"))
    found = worst(told_.reading, troubles(told_.reading), judge(None))
    assert len(found) == 10
    kinds = {one.said: one.kinds for one in found}
    assert kinds["late"][0] == "late"
    assert kinds["unsure"][0] == "unsure"
    assert kinds["slow"] == ["slow"]
    assert kinds["fault: brain"] == ["fault"]
    assert [one.at_s for one in found] == sorted(one.at_s for one in found)
    # Its frames as far as they were shown before it; a fault's is the last before.
    late = next(one for one in found if one.said == "late")
    assert (late.frame_ids, len(late.orders)) == ([1, 7], 1)
    assert next(one for one in found if one.said == "fault: brain").frame_ids == [7]


def test_a_row_of_the_same_abstentions_is_one_moment(told_: Told) -> None:
    for number in range(5):
        told_.at(number, Abstain(reason="stale", question_id="q", detail="too old"))
    told_.at(0.5, Question(id="q", text="Where is it?"))
    (found,) = worst(told_.reading, [], judge(None))
    assert (found.times, found.at_s, found.until_s) == (5, 0, 4)
    assert (found.question, found.why) == ("Where is it?", "too old")


def test_an_answer_is_judged_where_its_clip_has_labels(told_: Told, tmp_path: Path) -> None:
    truth = {"action": "stop", "answer": "Stop."}
    clip = {"file": "clip.avi", "rate_hz": 4, "instruction": "Go?", "frames": [truth, truth]}
    (tmp_path / "labels.json").write_bytes(msgspec.json.encode({"clips": [clip]}))
    told_.at(1, an_answer("Stop: there.", source="clip.avi", source_index=0))
    told_.at(2, an_answer("Turn left: it is.", source="clip.avi", source_index=1))
    told_.at(3, an_answer("Turn left: it is.", source="clip.avi", source_index=9))
    told_.at(4, an_answer("Turn left: it is.", source="other", source_index=0))
    told_.at(5, an_answer("Red.", source="clip.avi", source_index=0, instruction="Colour?"))
    found = counts(told_.reading, judge(tmp_path))
    assert (found.judged, found.right) == (2, 1)
    (wrong,) = [one for one in worst(told_.reading, [], judge(tmp_path)) if "wrong" in one.kinds]
    assert (wrong.at_s, wrong.why) == (2, "right: stop")
    with pytest.raises(UserError, match=r"labels\.json"):
        judge(tmp_path / "none")


def of_files(*files: FileReport, missing: int = 0) -> Report:
    gaps: dict[str, int] = {}
    return Report(
        name="t", files=list(files), topics={}, seconds=1, missing=missing, gaps=gaps, unseen=0
    )


def a_file(name: str, finished: bool, *why: str) -> FileReport:
    harms = [Harm(start=0, end=1, why=one) for one in why]
    return FileReport(name=name, bytes=2, messages=1, finished=finished, harms=harms)


@pytest.mark.parametrize(
    ("report", "ended", "found"),
    [
        (of_files(a_file("0", True)), "ended", "whole"),
        (of_files(a_file("0", True)), "", "interrupted"),
        (of_files(a_file("0", True), a_file("1.part", False, TORN)), "", "interrupted"),
        (of_files(a_file("0", True), a_file("1.part", False), missing=2), "", "interrupted"),
        (of_files(a_file("0.part", False, TORN), missing=1), "ended", "interrupted"),
        (of_files(a_file("0", False, TORN), a_file("1", True)), "ended", "damaged"),
        (of_files(a_file("0", False)), "ended", "damaged"),
        (of_files(a_file("0", True, "damaged records")), "ended", "damaged"),
        (of_files(a_file("0", True), missing=2), "ended", "damaged"),
    ],
)
def test_the_state_of_a_recording(report: Report, ended: str, found: str) -> None:
    assert state(report, ended) == found
    assert bool(list(notes(report, Reading(), ended))) == (found != "whole")


def test_a_clock_that_was_set_is_told(told_: Told) -> None:
    from otter_runtime.report.ran import _clocks_set

    told_.at(1, Health(uptime_s=1))
    told_.at(2, Health(uptime_s=2), wall_s=3602)
    (found,) = _clocks_set(told_.reading)
    assert (found.at_s, found.by_s) == (2, 3600)


def test_what_is_not_what_its_schema_says_is_counted(told_: Told) -> None:
    for data in (b"{", b"[]", b'{"type":"Answer"}', b"\xff", b"[" * 2000):
        told_.reading.take(Record(9, "/answer", 0, 0, data))
    assert told_.reading.unread == 5
    assert not told_.reading.of(Answer)
