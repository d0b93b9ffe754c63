"""The device's own environment: no torch, and the oldest ONNX Runtime that bundles promise."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
POCKET = ROOT / "runtime" / "otter_runtime" / "pocket" / "bundle-int8"
WORKSTATION = ["torch", "onnx", "otter_model", "otter_export", "otter_tuning"]
# Python runs this at every start, so front, brain and demo are all without them.
BLOCK = f"import sys\nsys.modules.update(dict.fromkeys({WORKSTATION!r}))\n"


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    folder = tmp_path / "clip"
    folder.mkdir()
    path = str(folder / "episode-0.avi")
    writer = cv2.VideoWriter(path, cv2.VideoWriter.fourcc(*"MJPG"), 4, (64, 64))
    random = np.random.default_rng(0)
    for _ in range(9):
        writer.write(cv2.resize(random.integers(0, 255, (8, 8, 3), dtype=np.uint8), (64, 64)))
    writer.release()
    truth = {"action": "stop", "answer": "Stop: it is there."}
    entry = {"file": "episode-0.avi", "rate_hz": 4, "instruction": "Go?", "frames": [truth] * 9}
    (folder / "labels.json").write_text(json.dumps({"clips": [entry]}))
    return folder


def summary(command: list[str], env: dict[str, str] | None = None) -> dict[str, Any]:
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=120, env=env, check=False
    )
    assert done.stdout, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])["summary"]
    return found


def test_a_run_imports_nothing_of_the_workstation(bundle: Path, clip: Path, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(BLOCK)
    env = {**os.environ, "PYTHONPATH": str(tmp_path)}
    probe = [sys.executable, "-c", "import torch"]
    blocked = subprocess.run(probe, capture_output=True, env=env, check=False)
    assert blocked.returncode, "torch is not blocked, so this test would show nothing"
    words = ["--clip", str(clip), "--bundle", str(bundle), "--fast", "--json"]
    found = summary([sys.executable, "-m", "otter_runtime", "demo", *words], env)
    assert found["answers"] == 3


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the commands of a fresh environment with what a device installs."""
    place = tmp_path_factory.mktemp("device")
    sources = place / "sources"
    # A copy, because building leaves files behind; of what git knows, because that is a clone.
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (sources / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, sources / name)
    subprocess.run([sys.executable, "-m", "venv", place / "venv"], check=True)
    commands = place / "venv" / "bin"
    packages = ["./robots", ".[cpu]", "onnxruntime==1.23.2"]
    install = [str(commands / "python"), "-m", "pip", "install", "--quiet", *packages]
    subprocess.run(install, cwd=sources, check=True, timeout=300)
    return commands


def test_the_device_install_has_no_torch_and_runs(
    installed: Path, bundle: Path, clip: Path
) -> None:
    probe = [str(installed / "python"), "-c", "import torch"]
    assert subprocess.run(probe, capture_output=True, check=False).returncode
    words = ["--clip", str(clip), "--bundle", str(bundle), "--fast", "--json"]
    assert summary([str(installed / "otter-edge"), "demo", *words])["answers"] == 3


@pytest.mark.skipif(not POCKET.is_dir(), reason="the pocket bundle is not in this checkout")
def test_the_device_install_answers_with_the_pocket_bundle(installed: Path) -> None:
    found = summary([str(installed / "otter-edge"), "demo", "--fast", "--json"])
    assert found["answers"] >= 30
    assert found["correct"] >= 0.9 * found["answers"]
