"""The page of a comparison: nothing in it runs, and it has no more pictures than it can carry."""

from __future__ import annotations

import numpy as np
import pytest
from tests.runtime.compare.runs import pairing

from otter_runtime.compare import page
from otter_runtime.compare.album import Album
from otter_runtime.compare.comparison import compared
from otter_runtime.compare.gate import Gate, findings, verdict
from otter_runtime.compare.pairing import Pairing
from otter_runtime.compare.row import rows
from otter_runtime.pages.pictures import small

HOSTILE = "</title><script>alert(1)</script><img src=x onerror=alert(1)>"


def album() -> Album:
    return {frame: small(np.full((9, 16, 3), frame, np.uint8)) for frame in range(20)}


def html(both: Pairing, albums: tuple[Album, Album]) -> str:
    comparison = compared(both)
    found = findings(comparison, Gate())
    shown = rows(both.pairs, None)
    return page.Page(comparison, verdict(comparison, found), found, shown, albums).html()


def test_what_a_model_wrote_stays_text() -> None:
    text = html(pairing([HOSTILE, "left"], ["left", HOSTILE]), (album(), album()))
    assert "<script" not in text
    assert text.count("<img") == 8  # two frames of either run for both questions
    assert "&lt;script&gt;" in text


def test_words_that_only_one_has_are_marked() -> None:
    text = html(pairing(["go left now"], ["go right now"]), ({}, {}))
    assert "go <mark>left</mark> now" in text
    assert "go <mark>right</mark> now" in text


def test_one_picture_where_both_saw_and_said_the_same_all_where_they_differ() -> None:
    one = album()
    assert html(pairing(["left"], ["left"]), (one, one)).count("<img") == 1
    assert html(pairing(["left"], ["stop"]), (one, one)).count("<img") == 2
    assert html(pairing(["left"], ["stop"]), (one, album())).count("<img") == 4


def test_too_many_questions_are_shown_without_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "PICTURED", 2)
    both = pairing(["left"] * 9, [*["left"] * 4, *["stop"] * 5])
    one = album()
    text = html(both, (one, one))
    assert text.count("<article") == 9
    assert text.count("<img") == 2 + 2 * 2
    assert "5 questions are without their pictures" in text
    # Frames 1 and 2 are the newest of what agrees; 4 to 6 all of what does not.
    assert page.wanted(both.pairs) == ({1, 2, 4, 5, 6}, {1, 2, 4, 5, 6})
