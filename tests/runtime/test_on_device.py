"""What only a device can show: `pytest -m jetson`, where TensorRT and a GPU are.

The pocket model is built once; OTTER_EDGE_BUNDLE names another bundle, built by `otter-edge build`
before. The same checks run in test_trt.py with stand-ins.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.runtime import device_checks

import otter_runtime
from otter_runtime.bundle import Bundle
from otter_runtime.trt.builder import build

pytestmark = pytest.mark.jetson


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    if given := os.environ.get("OTTER_EDGE_BUNDLE"):
        return Bundle.load(given)
    pocket = Path(otter_runtime.__file__).parent / "pocket" / "bundle-int8"
    copy = Bundle.load(shutil.copytree(pocket, tmp_path_factory.mktemp("device") / "pocket"))
    build(copy, lambda what, done, total: None)
    return copy


def test_golden_answers(bundle: Bundle) -> None:
    device_checks.golden_answers(bundle)


def test_steps_as_onnx_runtime(bundle: Bundle) -> None:
    device_checks.steps_as_onnx_runtime(bundle)


def test_replay_as_enqueue(bundle: Bundle) -> None:
    device_checks.replay_as_enqueue(bundle)


def test_a_new_process_finds_the_engine(bundle: Bundle) -> None:
    words = [sys.executable, "-m", "otter_runtime", "build", str(bundle.path), "--json"]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert "Building" not in done.stderr
