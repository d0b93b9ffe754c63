"""What differs between two runs, and when it is too much."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest
from tests.runtime.compare.runs import PLAN, exchange, pairing, run

from otter_runtime.compare.comparison import compared
from otter_runtime.compare.exchange import Exchange
from otter_runtime.compare.gate import Gate, findings, verdict
from otter_runtime.compare.pairing import across_trials, paired_up, within_a_trial
from otter_runtime.compare.summary import paired
from otter_runtime.compare.truth import Judge, either, expected, labelled
from otter_runtime.compare.wording import likeness, parting, same
from otter_runtime.errors import UserError


def said_by(
    a: Sequence[str | None], b: Sequence[str | None], judge: Judge | None = None, **gate: float
) -> str:
    comparison = compared(pairing(a, b), judge)
    return verdict(comparison, findings(comparison, msgspec.convert(gate, Gate)))


def right(text: str, asked: Exchange) -> bool | None:
    """Somebody who knows that "left" is right, but not at frame 3."""
    return None if asked.index == 3 else text == "left"


def test_case_and_marks_do_not_make_another_answer() -> None:
    assert same("1. Turn left!", "1 turn  LEFT")
    assert not same("turn left", "turn right")
    assert same(None, None)
    assert not same(None, "")
    assert likeness("Turn left now", "turn right") == pytest.approx(2 / 5)
    assert likeness(None, "turn") == 0.0
    assert likeness("!", "?") == 1.0
    assert parting("turn left now", "Turn left then") == 2
    assert parting("turn", "turn left") == 1


def test_a_run_against_itself_is_no_difference() -> None:
    assert said_by(["left", None, "stop"], ["left", None, "stop"]) == "no difference"
    assert said_by(["left"] * 3, ["left"] * 3, right) == "no difference"


def test_without_truth_a_is_what_b_has_to_agree_with() -> None:
    a = ["left"] * 20
    assert said_by(a, [*a[:19], "right"]) == "within the gate"
    assert said_by(a, [*a[:17], *["right"] * 3]) == "worse"
    assert said_by(a, [*a[:17], *["right"] * 3], min_agreement=0.8) == "within the gate"


def test_a_score_is_worse_where_it_drops_by_more_than_chance_and_more_than_allowed() -> None:
    left = ["left"] * 30
    assert said_by(left, ["right"] * 5 + left[5:], right) == "within the gate"  # p = 0.125
    assert said_by(left, ["right"] * 9 + left[9:], right) == "worse"
    assert said_by(left, ["right"] * 9 + left[9:], right, max_drop=0.3) == "within the gate"
    assert said_by(["right"] * 9 + left[9:], left, right) == "better"
    assert said_by(["right"] * 9 + left[9:], left, right, min_agreement=0.9) == "worse"


def test_silence_is_not_right_and_more_of_it_is_worse() -> None:
    left = ["left"] * 30
    quiet = [*[None] * 8, *left[8:]]
    comparison = compared(pairing(left, quiet), right)
    assert comparison.score is not None
    assert (comparison.score.n, comparison.score.only_first) == (29, 7)  # nobody knows frame 3
    assert comparison.abstentions.only_second == 8
    assert comparison.b.reasons == {"busy": 8}
    assert said_by(left, quiet, min_agreement=0) == "worse"
    assert said_by(left, quiet, min_agreement=0, max_abstain=0.5) == "within the gate"


def test_the_first_divergence_names_its_frame() -> None:
    first = compared(pairing(["left", "go on", "stop"], ["left", "go back", "no"])).divergence
    assert first is not None
    assert (first.at, first.index, first.words, first.frames) == (1, 2, 1, (1, 2))
    assert compared(pairing(["left"], ["Left."])).divergence is None


def test_latency_is_compared_stage_by_stage_on_one_clock() -> None:
    slow = [
        exchange(n, "left", timing={"prefill_ms": 2.0, "total_ms": 14.0 + n % 2}) for n in (1, 2)
    ]
    pair = paired_up(
        run("a", "left", "left"),
        run("b", exchanges=tuple(slow)),
        within_a_trial,
    )
    comparison = compared(pair)
    total = comparison.stages[1]
    assert (total.stage, total.a_p50, total.b_p95) == ("total", 10.0, 15.0)
    assert (total.difference.low, total.difference.value, total.difference.high) == (4, 4.5, 5)
    assert comparison.stages[0].difference.value == 0
    assert all(one.passed for one in findings(comparison, Gate(max_slower=0.5)))
    assert not all(one.passed for one in findings(comparison, Gate(max_slower=0.3)))
    other = msgspec.structs.replace(
        comparison, b=msgspec.structs.replace(comparison.b, clock="table")
    )
    with pytest.raises(UserError, match="one clock"):
        findings(other, Gate(max_slower=0.3))


def test_recordings_are_paired_by_id_and_by_the_very_frame() -> None:
    asked = exchange(1, "here", ask="1", question="Where?", question_id="q")
    a = run("a", exchanges=(asked, exchange(2, "left"), exchange(7, "on"), asked))
    later = exchange(9, "there", ask="5", question="Where?", question_id="q")
    b = run("b", exchanges=(exchange(2, "right", ask="9"), later))
    found = paired_up(a, b, across_trials)
    assert [(pair.a.answer, pair.b.answer) for pair in found.pairs] == [
        ("here", "there"),
        ("left", "right"),
    ]
    assert (found.only_a, found.only_b) == (2, 0)
    with pytest.raises(UserError, match="none to the same question"):
        paired_up(a, run("b"), across_trials)


def test_a_replay_that_saw_other_frames_than_the_device_says_so() -> None:
    later = exchange(2, "left", index=3, frames=(2, 3))
    b = run("b", exchanges=(exchange(1, "left"), later), clock="table")
    comparison = compared(paired_up(run("a", "left", "left"), b, within_a_trial))
    assert comparison.other_frames == 1
    assert "1 were answered about other frames" in paired(comparison)
    assert "leave --timed out" in paired(comparison)


def test_a_judge_who_knows_nothing_is_a_mistake() -> None:
    with pytest.raises(UserError, match="none of the 2 questions"):
        compared(pairing(["left"] * 2, ["left"] * 2), lambda text, asked: None)


def test_too_few_pairs_are_no_verdict() -> None:
    with pytest.raises(UserError, match="only 2 questions"):
        said_by(["left"] * 2, ["left"] * 2, min_pairs=3)


def test_expected_answers_are_lines_of_json(tmp_path: Path) -> None:
    path = tmp_path / "expected.jsonl"
    path.write_text(
        '{"question": "What should I do next?", "index": 2, "match": "^(left|right)$"}\n\n'
        '{"question": "What should I do next?", "source": "clip.avi", "answer": "Go on."}\n'
        '{"id": "q", "answer": "yes"}\n'
    )
    judge = expected(path)
    assert judge("Right", exchange(2, ""))
    assert not judge("go right", exchange(2, ""))
    assert judge("go on", exchange(3, ""))
    assert judge("go on", exchange(3, "", source="other.avi")) is None
    assert judge("Yes!", exchange(3, "", question="Is it?", question_id="q"))
    nobody = either([judge, lambda text, asked: False])
    assert nobody("x", exchange(1, "", question="Who?")) is False


@pytest.mark.parametrize(
    "line",
    [
        "{}",
        "no json",
        '{"question": "a"}',
        '{"answer": "a"}',
        '{"question": "a", "answer": "b", "match": "c"}',
        '{"question": "a", "match": "("}',
        '{"question": "a", "anser": "b"}',
    ],
)
def test_a_line_that_expects_nothing_is_refused(tmp_path: Path, line: str) -> None:
    path = tmp_path / "expected.jsonl"
    path.write_text('{"question": "a", "answer": "b"}\n' + line + "\n")
    with pytest.raises(UserError, match="line 2"):
        expected(path)
    with pytest.raises(UserError, match="cannot be read"):
        expected(tmp_path / "none")


def test_labels_judge_clear_frames_of_their_own_instruction(tmp_path: Path) -> None:
    truth = '{"action": "stop", "answer": "Stop: it is there."}'
    unclear = '{"action": "stop", "answer": "", "clear": false}'
    clip = f'"file": "clip.avi", "rate_hz": 4, "instruction": "{PLAN}"'
    (tmp_path / "labels.json").write_text(
        f'{{"clips": [{{{clip}, "frames": [{truth}, {truth}, {unclear}]}}]}}'
    )
    for path in (tmp_path, tmp_path / "labels.json"):
        judge = labelled(path)
        assert judge("Stop: here.", exchange(1, ""))
        assert judge("Go on.", exchange(1, "")) is False
        assert judge("Stop.", exchange(2, "")) is None
        assert judge("Stop.", exchange(3, "")) is None
        assert judge("Stop.", exchange(1, "", question="Where?")) is None
        assert judge("Stop.", exchange(1, "", source="other.avi")) is None
