"""The nearest pairs equal brute force; statistics of a fixture are counted by hand."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otter_runtime.errors import UserError
from otter_tuning.commands import mimicit
from otter_tuning.mimicit import context
from otter_tuning.mimicit.context import nearest, read_vectors
from otter_tuning.mimicit.instructions import Instruction, Instructions, read_contexts
from otter_tuning.mimicit.statistics import statistics, verb_and_noun, words_in


def call(*words: object) -> int:
    parser = argparse.ArgumentParser()
    mimicit.add_arguments(parser)
    return mimicit.run(parser.parse_args([str(word) for word in words]))


def brute(vectors: np.ndarray, count: int) -> list[list[int]]:
    """Every cosine, sorted; of equals the earlier leads."""
    rows = []
    for i, one in enumerate(vectors):
        scored = []
        for j, other in enumerate(vectors):
            lengths = np.linalg.norm(one) * np.linalg.norm(other)
            cosine = float(one @ other / lengths) if lengths else 0.0
            if i != j:
                scored.append((-round(cosine, 9), j))
        rows.append([j for _, j in sorted(scored)[:count]])
    return rows


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    rows=st.integers(2, 40),
    count=st.integers(1, 12),
    block=st.integers(1, 9),
)
def test_the_nearest_equal_brute_force(seed: int, rows: int, count: int, block: int) -> None:
    random = np.random.default_rng(seed)
    vectors = random.integers(-2, 3, (rows, 4)).astype(np.float32)  # many ties, some zeros
    before, context.BLOCK = context.BLOCK, block
    try:
        assert nearest(vectors, count).tolist() == brute(vectors.astype(np.float64), count)
    finally:
        context.BLOCK = before


def test_a_large_set_equals_brute_force() -> None:
    vectors = np.random.default_rng(0).standard_normal((2500, 64)).astype(np.float32)
    found = nearest(vectors, 10)
    unit = vectors.astype(np.float64)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    scores = unit @ unit.T
    np.fill_diagonal(scores, -9)
    assert (found == np.argsort(-scores, axis=1)[:, :10]).all()
    assert not (found == np.arange(2500)[:, None]).any()


def test_contexts_by_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    vectors = np.array([[1, 0], [0.9, 0.1], [0, 1]], np.float32)
    np.savez(tmp_path / "v.npz", ids=np.array(["a", "b", "c"]), vectors=vectors)
    assert call("context", tmp_path / "v.npz", "--nearest", 1, "-o", tmp_path / "x_train.json") == 0
    assert read_contexts(tmp_path / "x_train.json") == {"a": ["b"], "b": ["a"], "c": ["b"]}
    assert "3 pairs with their 1 nearest" in capsys.readouterr().out
    np.savez(tmp_path / "v.npz", ids=np.array(["a"]), vectors=vectors)
    with pytest.raises(UserError, match=r"1 ids and vectors of shape \(3, 2\)"):
        read_vectors(tmp_path / "v.npz")
    (tmp_path / "v.npz").write_bytes(b"no")
    with pytest.raises(UserError, match=r"should be an \.npz"):
        read_vectors(tmp_path / "v.npz")


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("Describe the picture in detail.", ("describe", "picture")),
        ("What should I pick up next, and which doors are open?", ("pick", "door")),
        ("How do they cook the rice?", ("cook", "rice")),
        ("Where?", None),
        ("The red one?", None),
    ],
)
def test_verbs_and_nouns(text: str, wanted: tuple[str, str] | None) -> None:
    assert verb_and_noun(text) == wanted


def test_words() -> None:
    assert words_in("Where is John's cup? 12!") == 4
    assert words_in("我的杯子在哪里") == 7


def fixture() -> Instructions:
    made = Instructions()
    made.add(
        Instruction(
            "DC_INS_00001", "Describe the video.", "A man runs.", ("x", "y"), ("DC_INS_00002",)
        )
    )
    made.add(Instruction("DC_INS_00002", "Describe the man.", "He is tall.", ("x", "y"), ()))
    made.add(Instruction("DC_INS_00002_zh", "描述一下", "他很高", ("x",), ()))
    made.add(Instruction("SD_INS_00001", "Name a difference.", "The van left.", ("z",), ()))
    return made


def test_statistics_are_counted() -> None:
    told = statistics(fixture())
    assert (told.pairs, told.images) == (4, 3)
    assert told.sets == {"DC": 3, "SD": 1}
    assert told.languages == {"en": 3, "zh": 1}
    assert told.instruction_words == {3: 3, 4: 1}
    assert told.images_each == {2: 2, 1: 2}
    assert told.contexts_each == {0: 3, 1: 1}
    assert told.verbs == {"describe": {"video": 1, "man": 1}, "name": {"difference": 1}}


def test_the_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fixture().write(tmp_path / "DC_instructions.json")
    page = tmp_path / "stats.html"
    assert call("stats", tmp_path / "DC_instructions.json", "--report", page, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["verbs"] == {"describe": 2, "name": 1}
    assert told["mean_instruction_words"] == 3.25
    text = page.read_text()
    assert text.count("<svg") == 3
    assert "describe" in text
    assert call("stats", tmp_path / "DC_instructions.json") == 0
