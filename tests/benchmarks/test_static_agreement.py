"""How far kept caches agree with recomputation in int8, on the pocket model."""

from __future__ import annotations

import json

import pytest
import static_agreement


def test_pocket_agrees_with_full_recomputation(capsys: pytest.CaptureFixture[str]) -> None:
    code = static_agreement.main(["--answers", "3", "--json"])
    report = json.loads(capsys.readouterr().out)
    assert report["tokens"] == 3 * static_agreement.DECODED
    assert report["precision"] == "int8"
    assert report["agreement"] >= 0.97
    assert code == (report["agreement"] < static_agreement.WANTED)
    assert 0 <= report["worst_difference"] < report["logits_sigma"]
    assert static_agreement.main(["--bundle", "nowhere"]) == 2
