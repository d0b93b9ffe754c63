"""The drafts' benchmark on the packaged model and clips: the same plans, in fewer steps."""

from __future__ import annotations

import json

import drafts
import pytest


def test_the_same_plans_in_fewer_steps(capsys: pytest.CaptureFixture[str]) -> None:
    assert drafts.main(["--interval", "2"]) == 0
    *shown, last = capsys.readouterr().out.splitlines()
    report = json.loads(last)
    assert report["equal"]
    assert report["answers"] == 24
    assert report["tokens_per_step"] > 1.5
    assert report["tokens_per_step"] <= report["put_per_step"] <= 1 + report["draft_tokens"]
    assert any("the same" in line for line in shown)


def test_without_drafts_it_is_a_token_a_step(capsys: pytest.CaptureFixture[str]) -> None:
    assert drafts.main(["--interval", "6", "--draft-tokens", "0", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["tokens_per_step"] == report["put_per_step"] == 1


def test_a_bundle_that_is_not_there_is_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert drafts.main(["--bundle", "none"]) == 2
    assert "none" in capsys.readouterr().err
