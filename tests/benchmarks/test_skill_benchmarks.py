"""The skills benchmarks' own parts: what is asked, and that a temperature reaches the manifest."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import skills
from grammar_cost import large_tokenizer, measure, widened

from otter_runtime.bundle import Bundle
from otter_tuning.pocket.cases import Case
from otter_tuning.pocket.questions import CLASSES, PLAN_ANSWERS
from otter_tuning.pocket.skills import SKILL_OF, offer


def test_every_plan_of_the_pocket_world_is_a_skills_sentence() -> None:
    made = offer("red box")
    made.check()
    for label, answer in zip(CLASSES, PLAN_ANSWERS, strict=True):
        read = made.parse(answer.format(kind="red box"))
        assert read is not None
        assert read[0].name == SKILL_OF[label]


def test_only_the_clear_cases_are_kept() -> None:
    weighed = skills.Weighed(
        scores=np.array([[-1.0, -3.0], [-2.0, -1.0]]),
        tokens=np.array([[2, 3], [2, 1]]),
        groups=(0, 1),
        right=np.array([0, 1]),
        clear=np.array([False, True]),
    )
    kept = weighed.only_clear()
    assert kept.right.tolist() == [1]
    assert kept.probabilities(1.0)[0] == pytest.approx([1 / (1 + np.e), np.e / (1 + np.e)])
    assert kept.probabilities(1.0, per_token=True)[0] == pytest.approx([0.5, 0.5])


def test_a_thing_unheard_of_is_asked_about_in_the_same_words() -> None:
    case = Case(0, (0, 1, 2, 3), "Go to the red box.", "Stop: the red box is right.", "stop")
    asked = skills._about_unknown(case)
    assert asked.question == "Go to the sofa."
    assert skills.thing(asked) == "sofa"


def test_a_fitted_temperature_is_the_bundles_and_leaves_the_model_what_it_is(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "bundle"
    shutil.copytree(skills.BUNDLE, folder)
    before = Bundle.load(folder)
    skills.write(before, 1.23456)
    after = Bundle.load(folder)
    assert after.manifest.skills.temperature == 1.2346
    assert after.model_hash == before.model_hash


def test_the_cost_of_a_grammar_is_measured_on_any_vocabulary() -> None:
    trained = large_tokenizer(400)
    row = measure(trained, widened(Bundle.load(skills.BUNDLE).manifest, trained), 3)
    assert row["vocabulary"] == 400
    assert all(value > 0 for value in row.values())
