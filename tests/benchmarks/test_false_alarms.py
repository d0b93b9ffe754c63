"""What counts as a false alarm, and a short walk through real rooms.

pytest -m slow tests/benchmarks/test_false_alarms.py
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

false_alarms = pytest.importorskip("false_alarms", reason="the pocket world is not installed")

from otter_robots.messages import Abstain, Answer  # noqa: E402


def answer(source: str, index: int) -> Answer:
    return Answer(
        text="Yes.",
        frame_ids=(index,),
        captured_mono_ns=0,
        captured_wall_ns=0,
        age_ms=1.0,
        ttl_ms=1.0,
        model_hash="0" * 64,
        source=source,
        source_index=index,
    )


def test_only_an_answer_about_a_clear_no_is_a_false_alarm() -> None:
    truth: list[int | None] = [0] * 8 + [1] * 8 + [None] * 4
    room = false_alarms.Room(Path("room-0.avi"), "Can you see it?", truth)
    said = [answer("room-0.avi", index) for index in (4, 8, 16)]
    told = false_alarms.judged([room], [*said, Abstain(reason="stale")])
    assert (told["asked"], told["abstained"], told["false_alarms"]) == (5, 1, 1)
    assert told["quiet_hours"] == pytest.approx(2 / 3600, abs=1e-4)  # two questions, a second each
    assert told["false_alarms_per_quiet_hour"] == pytest.approx(1800, rel=1e-3)
    assert (told["said_when_due"], told["due"]) == (0.5, 2)
    assert false_alarms.judged([room], [])["false_alarms_per_quiet_hour"] == 0


@pytest.mark.slow
def test_pocket_is_silent_where_there_is_nothing_to_say(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert false_alarms.main(["--hours", "0.04", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["asked"] == told["rooms"] * 30
    assert told["abstained"] == 0
    assert told["false_alarms"] <= 0.1 * told["quiet_hours"] * 3600
    assert told["said_when_due"] > 0.8
