"""Every command in README and docs is one that exists, with options that it has.

The long ones are not carried out here: what `make demo` and `make test` do is what CI runs.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
    ROOT / "configs" / "README.md",
    *sorted((ROOT / "robots" / "otter_robots").rglob("README.md")),
    ROOT / "robots" / "README.md",
]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?:)([^)#]+)")


def blocks(page: Path) -> list[tuple[str, str]]:
    """Language and text of each fenced block."""
    return FENCE.findall(page.read_text())


def commands() -> list[tuple[str, str]]:
    """Page and line of each command in a fenced block without a language, or for a shell."""
    lines = []
    for page in PAGES:
        for language, text in blocks(page):
            if language in ("", "sh", "bash"):
                lines += [(page.name, line) for line in text.splitlines()]
    starts = ("otter-edge ", "python ", "make ", "pip ")
    return [(page, line) for page, line in lines if line.startswith(starts)]


def words_of(line: str) -> list[str]:
    return shlex.split(line, comments=True)


def parses(command: list[str], parse: list[str]) -> None:
    """`command --help` works and knows every option in `parse`, which may begin with an act."""
    done = subprocess.run(
        [sys.executable, *command, "--help"], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.returncode == 0, done.stderr
    if parse and re.search(rf"^    {re.escape(parse[0])}(  |$)", done.stdout, re.MULTILINE):
        return parses([*command, parse[0]], parse[1:])
    options = [word.partition("=")[0] for word in parse if word.startswith("--")]
    assert [option for option in options if option not in done.stdout] == []
    return None


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("page", "line"), commands())
def test_a_command_exists_and_has_its_options(page: str, line: str) -> None:
    program, *rest = words_of(line)
    if program == "otter-edge":
        parses(["-m", "otter_runtime", rest[0]], rest[1:])
    elif program == "make":
        assert re.search(rf"^{rest[0]}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
    elif program == "pip":
        extras = re.findall(r"\[([\w,]+)\]", line)
        known = "".join((ROOT / p / "pyproject.toml").read_text() for p in (".", "robots"))
        for extra in ",".join(extras).split(","):
            assert not extra or re.search(rf"^{extra} = \[", known, re.MULTILINE), extra
    elif rest[0] == "-m":
        assert importlib.util.find_spec(rest[1])
        parses(rest[:2], rest[2:])
    else:
        assert (ROOT / rest[0]).is_file()
        parses(rest[:1], rest[1:])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_python_on_a_page_imports_names_that_exist(page: Path) -> None:
    for language, text in blocks(page):
        if language != "python":
            continue
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ImportFrom) and node.module:
                module = importlib.import_module(node.module)
                assert all(hasattr(module, name.name) for name in node.names)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    assert [to for to in LINK.findall(page.read_text()) if not (page.parent / to).exists()] == []
