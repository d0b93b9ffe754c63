"""Configuration structs: unknown names at any depth, and what else a file may hold."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec
import pytest

from otter_robots.errors import UserError
from otter_robots.settings import read


class Place(msgspec.Struct, frozen=True, kw_only=True):
    latitude: float = 0.0
    hemisphere: Literal["north", "south"] = "north"


class Robot(msgspec.Struct, frozen=True, kw_only=True):
    name: str = "otter"
    home: Place | None = None
    places: dict[str, tuple[Place, ...]] = {}


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "robot.yaml"
    path.write_text(text)
    return path


def test_a_file_overrides_the_defaults_and_arguments_the_file(tmp_path: Path) -> None:
    path = written(tmp_path, "name: a\nplaces: {dock: [{latitude: 1}]}\nhome: {latitude: 2}")
    assert read(Robot, None) == Robot()
    assert read(Robot, path, {"name": "b", "home": None}) == Robot(
        name="b", home=Place(latitude=2), places={"dock": (Place(latitude=1),)}
    )


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("nam: a", "no use for nam; did you mean name"),
        ("home: {latitud: 1}", "no use for home.latitud; did you mean home.latitude"),
        (
            "places: {dock: [{latitude: 1}, {lat: 1}]}",
            "no use for places.dock.1.lat; known are latitude",
        ),
        ("places: {dock: {latitude: 1}}", r"Expected `array`, got `object` - at `\$.places"),
        ("home: 3", r"Expected `object \| null`, got `int` - at `\$.home`"),
        ("home: {hemisphere: up}", r"home.hemisphere`; write one of north, south"),
        ("places: {dock: [{hemisphere: up}]}", "correct that value"),
        ("home: [1", "is not YAML"),
        ("3", "holds a int"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(UserError, match=says):
        read(Robot, written(tmp_path, text))
