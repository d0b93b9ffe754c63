"""From a minute in the field to a tuned checkpoint: what was exported is what a tuning takes."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest
import yaml

from otter_runtime.trials.exports.answers import answers
from otter_runtime.trials.exports.export import export
from otter_runtime.trials.trial import Trial
from otter_tuning.commands import tune
from otter_tuning.mimicit.trial_pairs import MIXTURE, write


def test_corrected_answers_are_tuned_on(
    field_trial: Path, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As installed, whatever this environment's metadata is of.
    monkeypatch.setattr("otter_runtime.trials.exports.export._found", lambda name: write)
    marks = tmp_path / "marks.jsonl"
    rows = [row | {"corrected": "Turn left."} for row in answers(Trial(field_trial))][:4]
    marks.write_text("".join(json.dumps(row) + "\n" for row in rows))
    folder = tmp_path / "set"
    export(field_trial, folder, "mimicit", marks, lambda *_: None)
    run = {"checkpoint": str(checkpoint), "mixture": MIXTURE, "out": "tuned", "frames": 4}
    (folder / "run.yaml").write_text(yaml.safe_dump(run | {"batch": 2, "precision": "fp32"}))
    parser = argparse.ArgumentParser()
    tune.add_arguments(parser)
    assert tune.run(parser.parse_args([str(folder / "run.yaml"), "--steps", "1"])) == 0
    assert (folder / "tuned" / "config.json").is_file() or any((folder / "tuned").iterdir())
