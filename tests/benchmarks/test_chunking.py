"""The chunking benchmark: an fp32 bundle's logits do not move, a dynamic one's do."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import chunking
import pytest


def test_it_tells_how_far_logits_move(
    tiny_bundle: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    bundles = [str(tiny_bundle("mpt", name)) for name in ("fp32", "int8-dynamic")]
    assert chunking.main(["--bundle", *bundles]) == 0
    *_, line = capsys.readouterr().out.splitlines()
    fp32, dynamic = json.loads(line)["rows"]
    assert fp32["sigma"]["1"] < 1e-4 < 1e-3 < dynamic["sigma"]["1"]
    assert dynamic["decoder"] == "int8-dynamic"


def test_what_is_no_bundle_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert chunking.main(["--bundle", str(tmp_path)]) == 2
    assert "manifest.json" in capsys.readouterr().err
