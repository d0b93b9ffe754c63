"""Configuration: defaults, a file that only overrides, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
import yaml

from otter_runtime.config import RunConfig, read
from otter_runtime.errors import UserError
from otter_runtime.frame import Stamp
from otter_runtime.standing import Standing


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "run.yaml"
    path.write_text(text)
    return path


def test_defaults_stand_where_nothing_is_said() -> None:
    assert read(None, {}) == RunConfig()


def test_a_file_overrides_defaults_and_arguments_override_the_file(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "source: clip.mp4\ninterval_s: 2\nwindow: {frames: 8}\nbus: {folder: /run/a}\n",
    )
    config = read(path, {"interval_s": 0.5, "bus": {"folder": None, "stream": "ipc:///x/s"}})
    assert config.source == ["clip.mp4"]
    assert config.interval_s == 0.5
    assert (config.window.frames, config.window.rate_hz) == (8, None)
    assert (config.bus.folder, config.bus.stream) == ("/run/a", "ipc:///x/s")
    assert read(written(tmp_path, "source: 0\n"), {}).source == ["0"]
    assert read(written(tmp_path, "source: [a.mp4, 0]\n"), {}).source == ["a.mp4", "0"]
    assert read(written(tmp_path, ""), {}) == RunConfig()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("intervall_s: 1", "intervall_s; did you mean interval_s"),
        ("window: {rate: 1}", "window.rate; did you mean window.rate_hz"),
        ("zzz: 1", "no use for zzz; known are source"),
        ("interval_s: soon", r"Expected `float`, got `str` - at `\$.interval_s`"),
        ("interval_s: 0", "interval_s"),
        ("window: 4", "window"),
        ("window: {frames: 0}", "frames"),
        ("bus: 3", r"Expected `object`, got `int` - at `\$.bus`"),
        ("brain: {provider: gpu}", r"brain\.provider`; write one of cpu, cuda, tensorrt"),
        ("brain: [1]", r"Expected `object`, got `array` - at `\$.brain`"),
        ("source: {a: 1}", r"Expected `str`, got `object` - at `\$.source"),
        ("source: [yes]", r"Expected `str`, got `bool` - at `\$.source"),
        ("interval_s: .inf", "interval_s"),
        ("window: {rate_hz: .inf}", "rate_hz"),
        ("wait_s: .inf", "wait_s"),
        ("speed: 1.0e-300", "speed"),
        ("deadline_ms: .nan", "deadline_ms"),
        ("source: 2001-99-99", "is not YAML"),
        ("- a list", "holds a list"),
        ("a: [unclosed", "is not YAML"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(UserError, match=says):
        read(written(tmp_path, text), {"bus": {"folder": None}, "brain": {"threads": None}})


def test_a_pipeline_needs_no_quotes(tmp_path: Path) -> None:
    for text in ("source: {gst: v4l2src}", "source: 'gst: v4l2src'", "source:\n- gst: v4l2src"):
        assert read(written(tmp_path, text), {}).source == ["gst: v4l2src"]


def test_the_page_states_the_defaults() -> None:
    page = (Path(__file__).parents[2] / "docs" / "device.md").read_text()
    stated = yaml.safe_load(page.partition("```yaml")[2].partition("```")[0])
    assert stated == msgspec.to_builtins(RunConfig())


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        read(tmp_path / "none.yaml", {})


def stamp(number: int, scene: int = 0) -> Stamp:
    return Stamp(
        id=number,
        scene=scene,
        source="clip",
        index=number,
        stream_ns=number * 250_000_000,
        mono_ns=0,
        wall_ns=0,
    )


def test_the_standing_instruction_keeps_its_interval_and_starts_afresh() -> None:
    standing = Standing(["one?", "two?"], 1.0, sources=2)
    asked = []
    for one in [*(stamp(number) for number in range(9)), stamp(0, scene=1), stamp(1, scene=1)]:
        if standing.due(one):
            standing.asked(one)
            asked.append((one.scene, one.index, standing.text(one.scene)))
    assert asked == [(0, 0, "one?"), (0, 4, "one?"), (0, 8, "one?"), (1, 0, "two?")]
    standing.replace("three?", 9.0)
    assert standing.due(stamp(2, scene=1))
    assert standing.text(7) == "three?"
    assert not Standing([], 1.0, sources=1).due(stamp(0))


def test_instructions_fit_the_sources() -> None:
    with pytest.raises(UserError, match="2 instructions for 3 sources"):
        Standing(["one", "two"], 1.0, sources=3)
