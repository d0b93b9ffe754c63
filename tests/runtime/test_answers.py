"""What a robot hears of what the brain said, and how a demo holds it against the truth."""

from __future__ import annotations

from pathlib import Path

import pytest

from otter_robots.messages import Answer
from otter_robots.terminal import printable
from otter_runtime.answers import answer, frames_of, steps
from otter_runtime.errors import UserError
from otter_runtime.frame import Stamp
from otter_runtime.labels import Clip, Labels, Truth, action
from otter_runtime.percentile import percentile, spread
from otter_runtime.wire import Said


def said(text: str = "Turn left: the box is on your left.", confidence: float = 1.0) -> Said:
    stamps = tuple(
        Stamp(
            id=number,
            scene=1,
            source="clip.avi",
            index=number - 10,
            stream_ns=0,
            mono_ns=number * 1_000_000,
            wall_ns=number,
        )
        for number in (11, 12, 13)
    )
    return Said(id="1", text=text, confidence=confidence, stamps=stamps, timing={"total_ms": 1.5})


def made(now_ms: float, deadline_ms: float | None = None, confidence: float = 1.0) -> Answer:
    return answer(
        said(confidence=confidence),
        now_ns=round(now_ms * 1e6),
        ttl_ms=100.0,
        model_hash="abc",
        question_id="q",
        deadline_ns=None if deadline_ms is None else round(deadline_ms * 1e6),
    )


def test_an_answer_says_what_it_is_about_and_how_old_that_is() -> None:
    message = made(53)
    assert message.frame_ids == (11, 12, 13)
    assert (message.source, message.source_index) == ("clip.avi", 3)
    assert (message.captured_mono_ns, message.captured_wall_ns) == (13_000_000, 13)
    assert (message.age_ms, message.late) == (40.0, False)


def test_late_is_said() -> None:
    assert made(114).late  # 101 ms old, valid for 100
    assert made(50, deadline_ms=49).late
    assert not made(50, deadline_ms=51).late


def test_confidence_stays_a_probability() -> None:
    assert made(50, confidence=1.0000001).confidence == 1.0


def test_steps_are_the_lines_of_a_plan() -> None:
    assert steps("Turn left: the box is there.") == ("Turn left: the box is there.",)
    assert steps("1. Go 1.5 m on.\n2) Stop.\n\n- Look.") == ("Go 1.5 m on.", "Stop.", "Look.")
    assert steps("") == ()


def test_text_cannot_move_the_cursor() -> None:
    assert printable("a\x1b[2Jb\r\nc é") == "a [2Jb  c é"
    assert frames_of(made(50)) == "11-13"


def test_labels_judge_by_the_newest_frame() -> None:
    truths = [Truth(action="stop", answer="Stop.")] * 3 + [
        Truth(action="turn left", answer="Turn left: it is there.", clear=False)
    ]
    clip = Clip(file="clip.avi", rate_hz=4.0, instruction="Go?", frames=truths)
    labels = Labels(clips=[clip, clip])
    verdict = labels.judge(made(50))
    assert verdict.correct
    assert not verdict.truth.clear
    assert labels.seconds == 2.0
    with pytest.raises(UserError, match="names frame 3"):
        Labels(clips=[]).judge(made(50))
    assert action("Go forward: the box is ahead.") == "go forward"


def test_labels_that_are_none_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        Labels.load(tmp_path)
    (tmp_path / "labels.json").write_text('{"clips": [{"file": 3}]}')
    with pytest.raises(UserError, match="does not describe clips"):
        Labels.load(tmp_path)


def test_percentiles() -> None:
    figures = [float(number) for number in range(1, 21)]
    assert [percentile(figures, percent) for percent in (0, 50, 95, 99, 100)] == [1, 10, 19, 20, 20]
    assert spread([])["p99"] == 0.0
