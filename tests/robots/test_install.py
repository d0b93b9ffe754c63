"""What a robot gets that installs otter-robots and nothing else."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROBOTS = Path(__file__).parents[2] / "robots"


@pytest.mark.parametrize("file", sorted(ROBOTS.rglob("*.py")), ids=lambda file: file.stem)
def test_it_is_python_3_10(file: Path) -> None:
    ast.parse(file.read_text(), feature_version=(3, 10))


@pytest.mark.slow
def test_it_brings_pyzmq_and_msgspec_and_nothing_else(tmp_path: Path) -> None:
    """In a fresh environment, from a package index: pytest -m slow tests/robots/test_install.py."""
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "venv")], check=True)
    python = tmp_path / "venv" / "bin" / "python"

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([python, *words], capture_output=True, text=True, check=False)

    before = {package["name"] for package in json.loads(run(*LIST).stdout)}
    installed = run("-m", "pip", "install", "--quiet", "--no-input", str(ROBOTS))
    if "No matching distribution" in installed.stderr:
        pytest.skip("no package index can be reached from here")
    assert installed.returncode == 0, installed.stderr
    after = {package["name"] for package in json.loads(run(*LIST).stdout)}
    assert after - before == {"otter-robots", "pyzmq", "msgspec"}
    imported = run("-W", "error", "-I", "-c", IMPORTS)
    assert imported.returncode == 0, imported.stderr


LIST = ("-m", "pip", "list", "--format=json")
IMPORTS = """
import importlib, pkgutil, otter_robots
for module in pkgutil.iter_modules(otter_robots.__path__, "otter_robots."):
    if not module.ispkg:  # an adapter has an extra
        importlib.import_module(module.name)
"""
