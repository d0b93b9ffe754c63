"""on_device.sh: what is missing here is said, with stand-ins it runs through; the row it prints."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import device_row
import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "benchmarks" / "on_device.sh"
# Every Python that the script starts finds TensorRT and CUDA to be the stand-ins.
STAND_INS = """
import sys, types
from tests.runtime.fake_cuda import Cuda
from tests.runtime.fake_tensorrt import Trt
cuda = Cuda()
bindings = types.ModuleType("cuda.bindings")
bindings.runtime = cuda
sys.modules |= {"cuda": types.ModuleType("cuda"), "cuda.bindings": bindings}
sys.modules |= {"cuda.bindings.runtime": cuda, "tensorrt": Trt(cuda)}
"""


def run(folder: Path, python_path: str = "") -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "PYTHON": sys.executable,
        "PYTHONPATH": os.pathsep.join(filter(None, [python_path, *sys.path])),
        "BENCH_ARGS": "--seconds 0.05",
        "LATENCY_ARGS": "--seconds 0.05 --read-gb 0.05",
    }
    words = ["bash", str(SCRIPT), "", "results"]
    return subprocess.run(
        words, cwd=folder, env=environment, capture_output=True, text=True, timeout=900
    )


@pytest.mark.skipif(importlib.util.find_spec("tensorrt") is not None, reason="TensorRT is here")
def test_without_tensorrt_it_says_so(tmp_path: Path) -> None:
    done = run(tmp_path)
    assert done.returncode == 2
    assert "tensorrt cannot be imported" in done.stderr
    facts = (tmp_path / "results" / "facts.txt").read_text()
    assert "model: " in facts
    assert "power: " in facts
    assert not (tmp_path / "results" / "row.txt").exists()


@pytest.mark.slow
def test_the_whole_of_it_with_stand_ins(tmp_path: Path) -> None:
    """About a minute: `pytest -m slow tests/benchmarks/test_device_row.py`."""
    (tmp_path / "sitecustomize.py").write_text(STAND_INS)
    done = run(tmp_path, f"{tmp_path}{os.pathsep}{ROOT}")
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(done.stdout.splitlines()[-1])
    assert report["build"]["tensorrt"] == "10.3.0"
    assert "golden answers 8/8" in done.stdout
    assert "4 passed" in report["tests"]
    assert report["bench"]["modes"][0]["measured"]["engine"]["provider"] == "tensorrt-native"
    assert report["latency"]["engine"]["provider"] == "tensorrt-native"


def test_the_rows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stages = {
        name: {"cold_ms": 10 * ms, "median_ms": ms}
        for name, ms in (("encode", 4), ("resample", 2), ("prefill", 9), ("decode", 5))
    }
    measured = {"bundle": "pocket", "provider": "tensorrt-native", "load_s": 2, "stages": stages}
    predicted = {"encode_ms": 3.0, "prefill_ms": 8.0, "decode_tokens_s": [150, 260]}
    modes = [
        {"mode": "MAXN", "gpu_mhz": 918, "measured": measured, "predicted": predicted},
        {"mode": "10W", "note": "it wants a restart"},
    ]
    build = {"tensorrt": "10.3.0", "figures": {"answers_equal": 8, "answers": 8}}
    (tmp_path / "facts.txt").write_text("model: Orin NX\nl4t: R36\npower: MAXN\n")
    (tmp_path / "build.json").write_text(json.dumps(build))
    (tmp_path / "bench.json").write_text(json.dumps({"device": "Orin NX", "modes": modes}))
    (tmp_path / "latency.json").write_text("{}")
    (tmp_path / "tests.txt").write_text("....\n==== 4 passed in 9 s ====\n")
    assert device_row.main([str(tmp_path)]) == 0
    head, _, first, second, *_, last = capsys.readouterr().out.splitlines()
    assert head.startswith("| device | power mode |")
    assert first.startswith("| Orin NX | MAXN | ?/918 | ? | pocket | tensorrt-native | 2.0 |")
    assert first.endswith(
        "| 40.0 → 4.0 (3.0) | 20.0 → 2.0 | 90.0 → 9.0 (8.0) | 20.0 → 200.0 (150-260) |"
    )
    assert second.startswith("| Orin NX | 10W | - |")
    assert json.loads(last)["tests"] == "4 passed in 9 s"


def test_an_empty_folder_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert device_row.main([str(tmp_path)]) == 2
    assert "is not what on_device.sh writes" in capsys.readouterr().err
