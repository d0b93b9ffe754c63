"""What every adapter's folder holds to; a new robot is held to it by being there."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

from otter_robots import adapters, settings

ROOT = Path(__file__).parents[3]
FOLDER = Path(adapters.__file__).parent
NAMES = sorted(path.parent.name for path in FOLDER.glob("*/__init__.py"))
# Refuses whatever otter-robots does not bring itself, as if it were not installed.
ALONE = """
import runpy, sys
from importlib.abc import MetaPathFinder

class Alone(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top not in sys.stdlib_module_names and top not in ("otter_robots", "zmq", "msgspec"):
            raise ModuleNotFoundError(f"No module named {top!r}", name=top)

sys.meta_path.insert(0, Alone())
runpy.run_module(sys.argv.pop(1), run_name="__main__", alter_sys=True)
"""


def alone(name: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run an adapter where nothing but otter-robots is installed."""
    command = [sys.executable, "-c", ALONE, f"otter_robots.adapters.{name}", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def test_there_are_adapters() -> None:
    assert "mavlink" in NAMES


@pytest.mark.parametrize("name", NAMES)
def test_its_folder_is_whole(name: str) -> None:
    readme = (FOLDER / name / "README.md").read_text()
    for section in ("## Wiring", "## Safe stop", "## What was run against what"):
        assert section in readme, f"{name}/README.md has no section {section!r}"
    config = importlib.import_module(f"otter_robots.adapters.{name}.config").Config
    settings.read(config, FOLDER / name / "config.yaml")
    assert config() == settings.read(config, None)
    assert re.search(rf"^{name} = \[", (ROOT / "robots/pyproject.toml").read_text(), re.MULTILINE)


@pytest.mark.parametrize("name", NAMES)
def test_help_needs_none_of_its_packages(name: str) -> None:
    done = alone(name, "--help")
    assert done.returncode == 0, done.stderr
    shared = ("--folder", "--stream", "--requests", "--key", "--config", "--dry-run", "--json")
    for option in shared:
        assert option in done.stdout


@pytest.mark.parametrize("name", NAMES)
def test_without_its_packages_it_says_what_to_install(name: str, tmp_path: Path) -> None:
    done = alone(name, "--folder", str(tmp_path), "--config", str(FOLDER / name / "config.yaml"))
    assert done.returncode == 2
    assert "pip install" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("name", NAMES)
def test_nothing_moves_past_the_guard(name: str) -> None:
    """The guard refuses what is replayed, stale or stopped; whoever acts has to ask it."""
    sources = "".join(path.read_text() for path in sorted((FOLDER / name).rglob("*.py")))
    assert "from otter_robots.guard import" in sources
    assert re.search(r"guard\.check\(|ear\.step\(", sources)
    assert "pickle" not in sources


@pytest.mark.parametrize("name", NAMES)
def test_no_other_file_names_it(name: str) -> None:
    """There is no central list to forget."""
    shared = [*FOLDER.glob("*.py"), *FOLDER.parent.glob("*.py")]
    assert [str(path) for path in shared if f"adapters.{name}" in path.read_text()] == []
