"""`otter-edge trial export` and `answers` as a person runs them: what they refuse, and say."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from otter_robots.messages import Answer, Question
from otter_runtime.cli import main
from otter_runtime.errors import UserError
from otter_runtime.trials.exports import export
from otter_runtime.trials.exports.job import Job
from otter_runtime.trials.exports.verdicts import Verdicts
from otter_runtime.trials.trial import Trial


def test_a_format_that_is_not_known_is_refused_with_the_nearest(
    field_trial: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["trial", "export", str(field_trial), "--to", "rosbag", "-o", str(tmp_path / "x")]
    assert main(words) == 2
    assert "did you mean rosbag2?" in capsys.readouterr().err


def test_what_is_there_is_never_overwritten(
    field_trial: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "x.rrd").write_text("mine")
    words = ["trial", "export", str(field_trial), "--to", "rerun", "-o", str(tmp_path / "x.rrd")]
    assert main(words) == 2
    assert "is there already" in capsys.readouterr().err
    assert (tmp_path / "x.rrd").read_text() == "mine"


def test_a_missing_package_is_told_as_the_line_that_installs_it(
    field_trial: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(sys.modules, "rerun", None)
    monkeypatch.delitem(sys.modules, "otter_runtime.trials.exports.rerun", raising=False)
    words = ["trial", "export", str(field_trial), "--to", "rerun", "-o", str(tmp_path / "x")]
    assert main(words) == 2
    said = capsys.readouterr().err
    assert "rerun is not installed; run: pip install 'otter-edge[rerun]'" in said
    assert not list(tmp_path.iterdir())


def test_an_export_that_fails_leaves_nothing_behind(
    field_trial: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(job: Job) -> None:
        job.to.write_text("half")
        raise OSError(28, "No space left on device", str(job.to))

    monkeypatch.setattr(export, "_found", lambda name: failing)
    words = ["trial", "export", str(field_trial), "--to", "rerun", "-o", str(tmp_path / "x")]
    assert main(words) == 2
    assert not list(tmp_path.iterdir())


def test_answers_are_listed_with_what_was_asked(
    field_trial: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["trial", "answers", str(field_trial)]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    trial = Trial(field_trial)
    messages = [one.message for one in trial.records({"/answer", "/request/question"})]
    answers = [one for one in messages if isinstance(one, Answer)]
    assert [row["answer"] for row in rows] == [one.text for one in answers]
    assert [tuple(row["frame_ids"]) for row in rows] == [one.frame_ids for one in answers]
    (asked,) = [one.text for one in messages if isinstance(one, Question)]
    assert [row["question"] for row in rows].count(asked) == 1
    assert {row["question"] for row in rows} == {asked, "What should I do next?"}
    assert [row["seconds"] for row in rows] == sorted(row["seconds"] for row in rows)


def test_a_line_says_right_or_what_is_right_or_nothing(tmp_path: Path, field_trial: Path) -> None:
    first, second, third = list(Trial(field_trial).records({"/answer"}))[:3]
    epoch = first.fields["epoch"]
    lines = [
        {"epoch": epoch, "seq": 1, "answer": "as listed", "right": True},
        {"seq": 2, "corrected": "Turn left."},
        {"epoch": epoch, "seq": 3, "answer": "as listed"},
        {"epoch": "of another run", "seq": 3, "right": True},
    ]
    path = tmp_path / "c.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)) + "\n\n")
    verdicts = Verdicts.read(path)
    assert len(verdicts) == 3
    found = [verdicts.of(one) for one in (first, second, third)]
    assert [one and (one.right, one.corrected) for one in found] == [
        (True, ""), (False, "Turn left."), None,
    ]  # fmt: skip


@pytest.mark.parametrize("line", ["{", '{"right": true}', '{"seq": "7"}', "[1]", "\x80"])
def test_a_line_that_is_no_correction_is_named(
    tmp_path: Path, line: str, field_trial: Path
) -> None:
    path = tmp_path / "c.jsonl"
    path.write_bytes(b'{"seq": 1}\n' + line.encode("latin-1"))
    with pytest.raises(UserError, match=r"line 2 of .* is no correction"):
        Verdicts.read(path)
