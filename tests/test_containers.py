"""The container files take only what is here: files that exist, extras that the project has.

They are never built in tests: their bases are of another processor, and gigabytes.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = sorted((ROOT / "configs" / "containers").glob("*.Dockerfile"))
PROJECT = (ROOT / "pyproject.toml").read_text()
PACKAGE = re.compile(r'^    "(\w+/otter_\w+)",$', re.MULTILINE)
COPY = re.compile(r"^COPY (.+) \S+$", re.MULTILINE)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_what_is_copied_exists_and_is_all_that_a_wheel_wants(path: Path) -> None:
    copied = {name for names in COPY.findall(path.read_text()) for name in names.split()}
    assert [name for name in copied if not (ROOT / name).exists()] == []
    wanted = ["README.md", "LICENSE", *PACKAGE.findall(PROJECT)]
    assert len(wanted) == 6
    for name in wanted:
        assert any(name == one or name.startswith(f"{one}/") for one in copied), name


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_what_is_installed_the_project_knows(path: Path) -> None:
    text = path.read_text()
    for extras in re.findall(r"'\.\[([\w,]+)\]'", text):
        for extra in extras.split(","):
            assert re.search(rf"^{extra} = \[", PROJECT, re.MULTILINE), extra
    assert "--system-site-packages" in text  # where TensorRT is
    assert "USER otter-edge" in text
