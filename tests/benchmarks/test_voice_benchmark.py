"""The voice's benchmark in short: one voice, few sentences."""

from __future__ import annotations

import json
import shutil

import pytest
import voice

pytest.importorskip("pocketsphinx", reason="pocketsphinx is not installed")

needs_espeak = pytest.mark.skipif(
    shutil.which("espeak-ng") is None, reason="espeak-ng is not installed"
)


@needs_espeak
def test_phrases_are_understood_and_others_are_not(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--voices", "en-us", "--speeds", "150", "--other", "3", "--snr-db", "20"]
    assert voice.main(words) == 0
    *shown, last = capsys.readouterr().out.splitlines()
    report = json.loads(last)
    assert report["right"]["quiet"] >= 0.9
    assert report["false"]["quiet"] == 0.0
    assert report["said"] == 2 * len(report["phrases"])
    assert report["other"] == 6
    assert report["delay_s"]["p50"] > 0.6
    assert any(line.startswith("stop now") for line in shown)


@needs_espeak
def test_a_voice_that_is_not_there_is_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert voice.main(["--voices", "nobody"]) == 2
    assert "nobody" in capsys.readouterr().err
