"""The governor between sensors and ladder, and the limits that the step loop keeps."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from otter_robots.messages import Governor as Message
from otter_runtime.assembly import assembled
from otter_runtime.bundle import Manifest
from otter_runtime.clock import VirtualClock
from otter_runtime.config import GovernorConfig, Limits, RunConfig, StepConfig
from otter_runtime.errors import UserError
from otter_runtime.frame import Frame
from otter_runtime.governor import Governor, cumulative
from otter_runtime.loop import StepLoop
from otter_runtime.wire import Ask, Limit, Said

LADDER = [
    StepConfig(above_c=70, rate_hz=2),
    StepConfig(above_c=80, window_frames=2, max_new_tokens=4),
    StepConfig(above_c=90, rate_hz=1, bundle="small"),
]


def zone(root: Path, temperature_c: float) -> None:
    folder = root / "sys/class/thermal/thermal_zone0"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "type").write_text("tj-thermal\n")
    (folder / "new").write_text(f"{temperature_c * 1000:.0f}\n")
    (folder / "new").replace(folder / "temp")


def begun(config: GovernorConfig) -> Iterator[Governor]:
    governor = Governor(config)
    governor.start()
    yield governor
    governor.close()


@pytest.fixture
def governor(tmp_path: Path) -> Iterator[Governor]:
    zone(tmp_path, 40)
    yield from begun(
        GovernorConfig(ladder=LADDER, root=str(tmp_path), interval_s=0.02, dwell_s=0.05)
    )


def changed(governor: Governor) -> Message:
    until_s = time.monotonic() + 30
    while time.monotonic() < until_s:
        message = governor.turn()
        if message is not None:
            return message
        time.sleep(0.01)
    raise AssertionError(f"no change within 30 s; {governor.reading}")


def test_a_step_keeps_what_those_before_it_lowered() -> None:
    assert cumulative(GovernorConfig(ladder=LADDER)) == [
        Limits(),
        Limits(rate_hz=2),
        Limits(rate_hz=2, window_frames=2, max_new_tokens=4),
        Limits(rate_hz=1, window_frames=2, max_new_tokens=4, bundle="small"),
    ]


def test_it_says_what_it_does_and_why(governor: Governor, tmp_path: Path) -> None:
    zone(tmp_path, 84)
    message = changed(governor)
    assert (message.step, message.steps, message.rate_hz, message.bundle) == (2, 3, 2, None)
    assert message.reason == "tj-thermal 84.0 °C, 80 °C or more"
    assert governor.limits.max_new_tokens == 4
    zone(tmp_path, 74)
    message = changed(governor)
    assert (message.step, message.reason) == (1, "tj-thermal 74.0 °C, below 75 °C again")


def test_a_sensor_that_is_lost_changes_nothing(governor: Governor, tmp_path: Path) -> None:
    zone(tmp_path, 84)
    assert changed(governor).step == 2
    (tmp_path / "sys/class/thermal/thermal_zone0/temp").unlink()
    until_s = time.monotonic() + 30
    while governor.reading.temperature_c is not None:
        assert time.monotonic() < until_s
    for _ in range(20):
        assert governor.turn() is None
        time.sleep(0.01)
    assert (governor.step, governor.temperature_c) == (2, None)


def test_a_reading_that_is_old_is_none(
    governor: Governor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    until_s = time.monotonic() + 30
    while governor.temperature_c is None:
        assert time.monotonic() < until_s
    assert governor.temperature_c == 40
    governor.close()
    governor._thread.join(30)
    now_s = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now_s + 60)
    assert governor.temperature_c is None


def test_a_ladder_rises() -> None:
    with pytest.raises(UserError, match=r"70, 80, 70 °C; let above_c rise"):
        Governor(GovernorConfig(ladder=[*LADDER[:2], LADDER[0]]))


def test_a_steps_bundle_has_to_be_there(tmp_path: Path, video: Callable[..., Path]) -> None:
    governed = GovernorConfig(ladder=[StepConfig(above_c=70, bundle=str(tmp_path))])
    config = RunConfig(source=[str(video())], governor=governed)
    with pytest.raises(UserError, match=r"at 70 °C has the bundle .* where no manifest"):
        assembled(config).__enter__()


def test_the_loop_keeps_its_limits_and_gets_back_its_own(
    engine: Any, manifest: Manifest, tokenizer: Any, frame: Callable[..., Frame]
) -> None:
    loop = StepLoop(engine, manifest, tokenizer, VirtualClock())

    def said(number: int) -> Said:
        for shown in range(6):
            loop.show(frame(6 * number + shown))
            loop.step()
        loop.ask(Ask(id=str(number), text="Where?"))
        while True:
            for event in loop.step():
                if isinstance(event, Said):
                    return event

    answers = [said(0)]
    for number, limit in enumerate((Limit(frames=2, max_new_tokens=3), Limit(frames=99), Limit())):
        loop.limit(limit)
        answers.append(said(number + 1))
    assert [len(answer.stamps) for answer in answers] == [4, 2, 4, 4]
    assert [len(answer.text) <= 3 for answer in answers] == [False, True, False, False]
