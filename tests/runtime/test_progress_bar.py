"""Progress where no terminal is: a line when a step begins, when it ends, and now and then."""

from __future__ import annotations

import pytest

from otter_runtime import progress_bar
from otter_runtime.progress_bar import Bar


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return [line.split(" s  ")[1] for line in capsys.readouterr().err.splitlines()]


def test_a_step_is_told_when_it_begins_and_when_it_ends(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with Bar() as bar:
        for done in (0, 1, 2, 3, 3):
            bar("blocks", done, 3)
        bar("graphs", 0, 1)
    assert lines(capsys) == ["blocks  0/3", "blocks  3/3", "graphs  0/1"]


def test_a_long_step_says_that_it_goes_on(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress_bar, "SILENCE_S", -1.0)
    with Bar() as bar:
        for done in range(3):
            bar("blocks", done, 9)
    assert lines(capsys) == ["blocks  0/9", "blocks  1/9", "blocks  2/9"]


def test_a_quiet_bar_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with Bar(quiet=True) as bar:
        bar("blocks", 1, 1)
    assert lines(capsys) == []
