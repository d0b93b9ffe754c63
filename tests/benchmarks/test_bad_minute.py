"""The minute in which much goes wrong, shortened; it is a real run all the same."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from bad_minute import Heat, main


def test_heat_comes_and_goes(tmp_path: Path) -> None:
    heat = Heat(tmp_path)
    told = []
    for share in (0.0, 0.5, 0.7, 1.0):
        heat.tell(share)
        told.append(int((tmp_path / "sys/class/thermal/thermal_zone0/temp").read_text()))
    assert told == [52_000, 86_000, 86_000, 52_000]


@pytest.mark.slow
def test_what_goes_wrong_is_in_the_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """pytest -m slow tests/benchmarks/test_bad_minute.py"""
    assert main(["--seconds", "40", "-o", str(tmp_path / "r.html")]) == 0
    row = json.loads(capsys.readouterr().out.splitlines()[-1])
    codes = {one["code"] for one in row["troubles"]}
    assert codes >= {"brain", "camera-silent", "step 1 of 2"}
    assert "was ended by SIGKILL" in (tmp_path / "r.html").read_text()
