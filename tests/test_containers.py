"""The container files take only what is here: files that exist, extras that the project has.

They are never built in tests: their bases are of another processor, and gigabytes.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import tomllib

ROOT = Path(__file__).parents[1]
FILES = sorted((ROOT / "configs" / "containers").glob("*.Dockerfile"))
COPY = re.compile(r"^COPY (.+) \S+$", re.MULTILINE)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_what_is_copied_exists_and_is_all_that_a_wheel_wants(path: Path) -> None:
    copied = {name for names in COPY.findall(path.read_text()) for name in names.split()}
    assert [name for name in copied if not (ROOT / name).exists()] == []
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = [project["project"]["readme"], *project["project"]["license-files"]]
    wanted += project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    for name in wanted:
        assert any(name == one or name.startswith(f"{one}/") for one in copied), name


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_what_is_installed_the_project_knows(path: Path) -> None:
    text = path.read_text()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for extras in re.findall(r"'\.\[([\w,]+)\]'", text):
        assert set(extras.split(",")) <= set(project["optional-dependencies"])
    assert "--system-site-packages" in text  # where TensorRT is
    assert "USER otter-edge" in text
