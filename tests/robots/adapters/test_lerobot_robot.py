"""The robot type `otter` in LeRobot itself: found by its name, parsed, built, held.

Only where lerobot is installed, which pins an older torch than this project's; for example

    pip install ./robots . pytest lerobot && pytest tests/robots/adapters/test_lerobot_robot.py
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import make_dataclass
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("lerobot")
draccus: Any = pytest.importorskip("draccus")

from lerobot.robots.config import RobotConfig  # noqa: E402
from lerobot.robots.utils import make_robot_from_config  # noqa: E402
from lerobot.utils.import_utils import register_third_party_plugins  # noqa: E402

from otter_robots import adapters  # noqa: E402
from otter_robots.errors import UserError  # noqa: E402

HERE = Path(__file__).parent
PLUGIN = Path(adapters.__file__).parent / "lerobot" / "plugin"


@pytest.fixture(autouse=True)
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The plugin as pip would install it, and the bench robot."""
    site = tmp_path / "site" / "lerobot_robot_otter-0.1.0.dist-info"
    site.mkdir(parents=True)
    assert 'name = "lerobot_robot_otter"' in (PLUGIN / "pyproject.toml").read_text()
    (site / "METADATA").write_text("Metadata-Version: 2.1\nName: lerobot_robot_otter\n")
    for folder in (site.parent, PLUGIN, HERE):
        monkeypatch.syspath_prepend(str(folder))
    __import__("lerobot_bench")
    register_third_party_plugins()
    assert "lerobot_robot_otter" in sys.modules


def made(tmp_path: Path, *words: str, kind: str = "bench") -> Any:
    """A robot as LeRobot's commands make it from their arguments."""
    command = make_dataclass("Command", [("robot", RobotConfig)])
    folder = ["--robot.folder", str(tmp_path), "--robot.calibration_dir", str(tmp_path)]
    inner = f"{{type: {kind}, calibration_dir: {tmp_path}}}"
    given = ["--robot.type=otter", "--robot.robot", inner, *folder, *words]
    parsed = draccus.parse(command, args=given)
    return make_robot_from_config(parsed.robot)


def wait(true: Callable[[], object]) -> None:
    until_s = time.monotonic() + 60
    while not true() and time.monotonic() < until_s:
        time.sleep(0.01)
    assert true()


def test_actions_pass_frames_are_pushed_and_silence_holds_it(runtime: Any, tmp_path: Path) -> None:
    robot = made(tmp_path, "--robot.camera=front")
    assert (type(robot).__name__, robot.robot_type, len(robot.cameras)) == ("Otter", "bench", 0)
    assert robot.observation_features == {"joint.pos": float, "front": (48, 64, 3)}
    assert robot.action_features == {"joint.pos": float}
    assert not robot.is_connected
    assert robot.send_action({"joint.pos": 9.0}) == {}
    robot.connect()
    wait(lambda: robot.why is None)
    assert robot.send_action({"joint.pos": 1.0}) == {"joint.pos": 1.0}
    assert robot.get_observation()["joint.pos"] == 1.0
    seen = runtime.wait(lambda event: event.get("type") == "Picture")
    assert (seen["width"], seen["height"], seen["source"]) == (64, 48, "front")

    runtime.tell(silent=True)
    wait(lambda: robot.why is not None)
    assert robot.send_action({"joint.pos": 2.0}) == {"joint.pos": 1.0}
    assert (robot.inner.moves, robot.held) == ([{"joint.pos": 1.0}], 2)
    robot.disconnect()
    assert not robot.is_connected
    assert not robot.inner.is_connected


def test_a_camera_it_does_not_have_is_said(tmp_path: Path) -> None:
    with pytest.raises((UserError, ValueError), match="has no camera 'back'"):
        made(tmp_path, "--robot.camera=back")


def test_a_robot_that_there_is_not_is_said(tmp_path: Path) -> None:
    with pytest.raises((UserError, ValueError), match="no robot of LeRobot's"):
        made(tmp_path, kind="bnech")


def test_a_folder_that_others_can_enter_is_refused_before_the_robot_is_connected(
    tmp_path: Path,
) -> None:
    tmp_path.chmod(0o755)
    robot = made(tmp_path)
    with pytest.raises(UserError, match="only you can enter"):
        robot.connect()
    assert not robot.inner.is_connected
