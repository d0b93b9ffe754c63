"""Arrows run one way: which package may import which, and where torch may not be imported."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
OURS = {"otter_robots", "otter_runtime", "otter_model", "otter_export", "otter_tuning"}
MAY_IMPORT = {
    "robots/otter_robots": set[str](),
    "runtime/otter_runtime": {"otter_robots"},
    "model/otter_model": set[str](),
    "export/otter_export": {"otter_model", "otter_runtime", "otter_robots"},
    "tuning/otter_tuning": {"otter_model", "otter_runtime", "otter_robots"},
}
WITHOUT_TORCH = ["robots/otter_robots", "runtime/otter_runtime"]


def imports(folder: str) -> Iterator[tuple[str, str]]:
    """File and top-level package of every import, wherever in the file it stands."""
    files = sorted((ROOT / folder).rglob("*.py"))
    assert files, f"{folder} has no modules"
    for path in files:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                for name in node.names:
                    yield str(path.relative_to(ROOT)), name.name.partition(".")[0]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                yield str(path.relative_to(ROOT)), (node.module or "").partition(".")[0]


@pytest.mark.parametrize("folder", MAY_IMPORT)
def test_arrows_run_one_way(folder: str) -> None:
    allowed = MAY_IMPORT[folder] | {Path(folder).name}
    wrong = [(file, name) for file, name in imports(folder) if name in OURS - allowed]
    assert not wrong


@pytest.mark.parametrize("folder", WITHOUT_TORCH)
def test_the_device_has_no_torch_and_no_pickle(folder: str) -> None:
    banned = {"torch", "transformers", "accelerate", "pickle", "dill", "cloudpickle"}
    wrong = [(file, name) for file, name in imports(folder) if name in banned]
    assert not wrong


def test_a_robot_needs_pyzmq_and_msgspec_only() -> None:
    adapters = "robots/otter_robots/adapters/"  # whose packages are extras
    names = {name for file, name in imports("robots/otter_robots") if not file.startswith(adapters)}
    assert names - sys.stdlib_module_names == {"zmq", "msgspec", "otter_robots"}
