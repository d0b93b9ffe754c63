"""A field trial as MIMIC-IT: the chosen pairs, sound by the set's own checker."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from otter_robots.messages import Answer
from otter_runtime.errors import UserError
from otter_runtime.trials.exports.answers import answers
from otter_runtime.trials.exports.export import export
from otter_runtime.trials.trial import Trial
from otter_tuning.mimicit.check import check
from otter_tuning.mimicit.image_store import ImageStore, image_ids
from otter_tuning.mimicit.instructions import Instructions
from otter_tuning.mimicit.trial_pairs import IMAGES, INSTRUCTIONS, write


@pytest.fixture(autouse=True)
def joined(monkeypatch: pytest.MonkeyPatch) -> None:
    """As installed: the entry point gives `write`, whatever this environment's metadata is of."""
    monkeypatch.setattr("otter_runtime.trials.exports.export._found", lambda name: write)


def exported(trial: Path, to: Path, corrections: Path | None = None) -> Instructions:
    export(trial, to, "mimicit", corrections, lambda *_: None)
    return Instructions.read(to / INSTRUCTIONS)


def test_every_answer_with_the_very_frames_it_saw_and_no_fault(
    field_trial: Path, tmp_path: Path
) -> None:
    made = exported(field_trial, tmp_path / "set")
    trial = Trial(field_trial)
    said = [one.message for one in trial.records({"/answer"})]
    files = {sight.show.stamp.id: sight.file for sight in trial.sights()}
    with ImageStore(tmp_path / "set" / IMAGES) as store:
        for pair, answer in zip(made, said, strict=True):
            assert isinstance(answer, Answer)
            assert pair.answer == answer.text
            assert [store[name] for name in pair.image_ids] == [
                files[frame] for frame in answer.frame_ids
            ]
            assert store.pixels(pair.image_ids[0]).shape == (256, 256, 3)
    asked = [pair.instruction for pair in made]
    assert asked == [row["question"] for row in answers(trial)]
    assert asked.count("Where is the red box?") == 1
    assert check(made, image_ids(tmp_path / "set" / IMAGES)).faults == []


def test_only_what_a_person_marked_as_they_would_have_it(field_trial: Path, tmp_path: Path) -> None:
    rows = list(answers(Trial(field_trial)))
    rows[1] |= {"right": True}
    rows[3] |= {"corrected": "Turn left: the red box is behind you."}
    rows[4] |= {"right": False}
    marks = tmp_path / "marks.jsonl"
    marks.write_text("".join(json.dumps(row) + "\n" for row in rows))
    made = exported(field_trial, tmp_path / "set", marks)
    assert [(pair.answer, len(pair.image_ids)) for pair in made] == [
        (rows[1]["answer"], len(rows[1]["frame_ids"])),
        ("Turn left: the red box is behind you.", len(rows[3]["frame_ids"])),
    ]
    # Nothing more than these pairs need.
    used = {name for pair in made for name in pair.image_ids}
    assert set(image_ids(tmp_path / "set" / IMAGES)) == used


def test_a_file_of_corrections_that_marks_nothing_is_refused_with_the_way(
    field_trial: Path, tmp_path: Path
) -> None:
    marks = tmp_path / "marks.jsonl"
    marks.write_text("".join(json.dumps(row) + "\n" for row in answers(Trial(field_trial))))
    with pytest.raises(UserError, match="no answer to tune on; mark lines"):
        exported(field_trial, tmp_path / "set", marks)
    assert list(tmp_path.iterdir()) == [marks]


def test_the_entry_point_is_declared() -> None:
    text = (Path(__file__).parents[3] / "pyproject.toml").read_text()
    group = text.partition('[project.entry-points."otter_edge.exports"]\n')[2]
    assert group.startswith(f'mimicit = "{write.__module__}:{write.__name__}"')
