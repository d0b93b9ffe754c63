"""The doctor: on trees of machines that are not here, on this one, and on a camera it times."""

from __future__ import annotations

import json
import os
import pty
import shutil
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.runtime.filmed import Filmed, grey

from otter_runtime.commands.doctor import BRIGHT, DARK
from otter_runtime.config import RunConfig, read
from otter_runtime.doctor import bundles, cameras, engines, places, power
from otter_runtime.doctor.examination import examine
from otter_runtime.doctor.finding import Finding
from otter_runtime.doctor.host import Host
from otter_runtime.doctor.latency import Flash, Sight, fitted
from otter_runtime.errors import UserError

MS = 1_000_000
Tree = Callable[..., Path]


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """A root with these files."""

    def make(**files: str) -> Path:
        for name, text in files.items():
            path = tmp_path / "root" / name.replace("__", "/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        (tmp_path / "root").mkdir(exist_ok=True)
        return tmp_path / "root"

    return make


class Told(Host):
    """A machine whose modules say this, and where nobody may do anything."""

    def asked(self, code: str) -> tuple[Any, str]:
        return self.says

    def may(self, path: Path) -> bool:
        return False

    says: tuple[Any, str] = (None, "")


def told(says: tuple[Any, str], root: Path, machine: str = "aarch64") -> Told:
    made = type("Told", (Told,), {"says": says})(root=root, machine=machine)
    assert isinstance(made, Told)
    return made


def failed(findings: Any) -> list[Finding]:
    """Those that are not well; each says what helps."""
    bad = [finding for finding in findings if finding.level != "ok"]
    assert all(finding.remedy for finding in bad)
    return bad


JETSON = {"proc__device-tree__model": "NVIDIA Jetson AGX Orin Developer Kit\0"}


def test_the_wheel_that_installs_on_a_jetson_and_does_not_run(tree: Tree) -> None:
    pypi = (["1.31.1", ["CUDAExecutionProvider", "CPUExecutionProvider"]], "")
    (found,) = failed(engines.onnxruntime(told(pypi, tree(**JETSON)), "cuda"))
    assert found.level == "fail"
    assert "no code for the GPU of an Orin" in found.finding
    assert failed(engines.onnxruntime(told(pypi, tree(), "x86_64"), "cuda")) == []


def test_a_provider_that_is_not_there_is_named(tree: Tree) -> None:
    cpu = (["1.23.2", ["CPUExecutionProvider"]], "")
    (found,) = failed(engines.onnxruntime(told(cpu, tree()), "cuda"))
    assert (found.level, found.check) == ("fail", "provider")
    assert failed(engines.onnxruntime(told(cpu, tree()), "cpu")) == []


@pytest.mark.parametrize(
    ("why", "provider", "files", "level", "says"),
    [
        ("ImportError: libnvdla_compiler.so: cannot open", "cpu", {}, "fail", "libnvdla_compiler"),
        ("ModuleNotFoundError: No module named 'tensorrt'", "cpu", {}, None, ""),
        ("ModuleNotFoundError: No module named 'tensorrt'", "cpu", JETSON, "warn", "not installed"),
        ("No module named 'tensorrt'", "tensorrt-native", {}, "fail", "not installed"),
        (
            "No module named 'tensorrt'",
            "tensorrt-native",
            {"usr__lib__python3.10__dist-packages__tensorrt__x": ""},
            "fail",
            "does not see it",
        ),
        ("OSError: libcudart", "cpu", {}, "warn", "libcudart"),
    ],
)
def test_tensorrt_that_does_not_load(
    tree: Tree, why: str, provider: str, files: dict[str, str], level: str | None, says: str
) -> None:
    found = failed(engines.tensorrt(told((None, why), tree(**files)), provider))
    assert [one.level for one in found] == ([level] if level else [])
    assert all(says in one.finding for one in found)


def test_the_provider_of_the_wheels_wants_tensorrt_10(tree: Tree) -> None:
    (found,) = failed(engines.tensorrt(told(("11.4.1", ""), tree()), "tensorrt"))
    assert "libnvinfer 10" in found.finding
    assert failed(engines.tensorrt(told(("11.4.1", ""), tree()), "tensorrt-native")) == []


def test_a_gpu_that_is_missing_or_not_ours(tree: Tree) -> None:
    assert failed(engines.gpu(Host(tree()), "cpu")) == []
    assert "none was found" in failed(engines.gpu(Host(tree()), "cuda"))[0].finding
    root = tree(dev__nvidia0="")
    assert "you may not use" in failed(engines.gpu(told((None, ""), root), "cpu"))[0].finding
    assert failed(engines.gpu(Host(root), "cuda")) == []


def test_cameras_and_who_may_open_them(tree: Tree) -> None:
    about = "sys__class__video4linux__video"
    root = tree(dev__video0="", dev__video1="", **{about + "0__name": "HD Webcam"})
    tree(**{about + "1__index": "1"})
    named = [finding.finding for finding in cameras.devices(Host(root), [])]
    assert named == ["HD Webcam"]  # the other is its metadata
    (mine,) = failed(cameras.devices(told((None, ""), root), []))
    assert "usermod -aG video" in mine.remedy
    (missing,) = failed(cameras.devices(Host(root), ["7", "clip.avi"]))
    assert "/dev/video7 is missing" in missing.finding


def test_gstreamer_where_it_is_wanted(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert failed(cameras.gstreamer(Host(tree()), ["0"])) == []
    (found,) = failed(cameras.gstreamer(Host(tree()), ["gst: v4l2src"]))
    assert (found.level, "apt-get install" in found.remedy) == ("fail", True)
    (found,) = failed(cameras.gstreamer(Host(tree(**JETSON)), []))
    assert found.level == "warn"


@pytest.mark.skipif(not shutil.which("gst-inspect-1.0"), reason="GStreamer is not installed")
def test_a_jetson_without_its_csi_plugin(tree: Tree) -> None:
    assert failed(cameras.gstreamer(Host(tree()), ["gst: videotestsrc"])) == []
    (found,) = failed(cameras.gstreamer(Host(tree(**JETSON)), []))
    assert "no CSI camera" in found.finding


def test_power_mode_throttling_and_heat(tree: Tree) -> None:
    slow = {
        "var__lib__nvpmodel__status": "pmode:0002",
        "etc__nvpmodel.conf": "< POWER_MODEL ID=2 NAME=MODE_15W >",
        "sys__class__thermal__thermal_zone0__temp": "91000",
        "sys__class__thermal__thermal_zone0__type": "tj-thermal",
        "sys__class__hwmon__hwmon3__oc1_event_cnt": "4",
    }
    found = {finding.check: finding.finding for finding in failed(power.power(Host(tree(**slow))))}
    assert found == {
        "power mode": "MODE_15W, not MAXN",
        "throttling": "4 events since the start",
        "temperature": "91 °C (tj-thermal)",
    }


def test_a_bundle_is_verified_and_held_against_the_memory(
    tree: Tree, bundle: Path, tmp_path: Path
) -> None:
    plenty = tree(proc__meminfo="MemTotal: 8000000 kB\nMemAvailable: 7000000 kB\n")
    assert failed(bundles.bundle(Host(plenty), bundle)) == []
    little = tree(proc__meminfo="MemTotal: 200000 kB\nMemAvailable: 100000 kB\n")
    (found,) = failed(bundles.bundle(Host(little), bundle))
    assert (found.check, found.level) == ("memory", "fail")
    boxed = {"sys__fs__cgroup__memory.max": "200000000", "sys__fs__cgroup__memory.current": "0"}
    meminfo = "MemTotal: 8000000 kB\nMemAvailable: 7000000 kB\n"
    (found,) = failed(bundles.bundle(Host(tree(proc__meminfo=meminfo, **boxed)), bundle))
    assert (found.check, found.level) == ("memory", "fail")
    copy = tmp_path / "copy"
    shutil.copytree(bundle, copy)
    with (copy / "decoder.bin").open("r+b") as file:
        file.write(b"\xff\xff")
    (found,) = failed(bundles.bundle(Host(), copy))
    assert (found.check, found.level) == ("bundle", "fail")
    assert "decoder.bin" in found.finding


def test_folders_and_keys(tmp_path: Path) -> None:
    private = tmp_path / "run"
    private.mkdir(mode=0o700)
    config = read(None, {"bus": {"folder": str(private)}})
    assert failed(places.sockets(Host(), config)) == []
    private.chmod(0o755)
    (found,) = failed(places.sockets(Host(), config))
    assert "chmod 700" in found.remedy
    greedy = read(None, {"bus": {"folder": str(private), "keep_mb": 1e9}})
    (found,) = failed(places.state(Host(), greedy))
    assert (found.check, found.level) == ("disk", "warn")
    keys = tmp_path / "keys"
    config = read(None, {"bus": {"keys": str(keys)}})
    assert "otter-edge keys make" in failed(places.keys(Host(), config))[0].remedy
    words = ["keys", "make", "tablet", "--allow", "ask", "--keys", str(keys)]
    subprocess.run(
        [sys.executable, "-m", "otter_runtime", *words],
        check=True,
        capture_output=True,
    )
    assert failed(places.keys(Host(), config)) == []
    (keys / "tablet.client").chmod(0o644)
    (found,) = failed(places.keys(Host(), config))
    assert "others may read" in found.finding


def test_a_check_that_breaks_is_a_finding(
    tree: Tree, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(host: Host) -> Any:
        raise RuntimeError("sensor on fire")

    monkeypatch.setattr(power, "power", broken)
    findings = list(examine(told((None, "No module"), tree()), RunConfig(), bundle))
    assert "sensor on fire" in next(one for one in findings if one.check == "power").finding
    assert any(one.check == "bundle" for one in findings)


def doctor(*words: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "otter_runtime", "doctor", *words],
        text=True,
        timeout=120,
        check=False,
        capture_output=True,
        **options,
    )


def test_on_this_machine(bundle: Path, tmp_path: Path) -> None:
    done = doctor("--json", "--bundle", str(bundle))
    said = json.loads(done.stdout)
    checks = {one["check"]: one["level"] for one in said["checks"]}
    assert checks["onnxruntime"] == checks["bundle"] == "ok"
    assert {"python", "tensorrt", "gpu", "gstreamer", "run folder", "disk", "keys"} <= {*checks}
    assert said["ok"] == (done.returncode == 0) == ("fail" not in checks.values())
    config = tmp_path / "run.yaml"
    config.write_text("source: 77\nbrain:\n  provider: cuda\n")
    done = doctor("--config", str(config), "--bundle", str(bundle))
    assert done.returncode == 1
    assert "fail  camera 77: /dev/video77 is missing\n      → plug it in" in done.stdout


# The latency of a camera.


def filmed(latency_ms: float, rate_hz: float, seed: int) -> tuple[list[Flash], list[Sight]]:
    """Flashes, and what a camera of this latency makes of them."""
    random = np.random.default_rng(seed)
    turns = np.cumsum(random.uniform(350, 850, 30))
    flashes = [Flash(round(ms * MS), index % 2 == 0) for index, ms in enumerate(turns)]
    sights = []
    for ms in np.arange(0, turns[-1], 1000 / rate_hz):
        shown = int(np.searchsorted(turns, ms - latency_ms, side="right")) - 1
        level = 90 if shown >= 0 and flashes[shown].bright else 40
        sights.append(Sight(round(ms * MS), level + random.normal(0, 5)))
    return flashes, sights


@pytest.mark.parametrize("latency_ms", [0.0, 37.0, 180.0, 1200.0])
@pytest.mark.parametrize("rate_hz", [10.0, 30.0])
def test_a_latency_is_found_within_its_error(latency_ms: float, rate_hz: float) -> None:
    found = fitted(*filmed(latency_ms, rate_hz, seed=1))
    assert found.latency_ms == pytest.approx(latency_ms, abs=found.plus_minus_ms + 2)
    assert found.plus_minus_ms <= 1000 / rate_hz / 2
    assert found.fit > 0.9


def test_a_camera_that_looks_elsewhere_is_refused() -> None:
    flashes, sights = filmed(100, 30, seed=2)
    noise = np.random.default_rng(3).normal(90, 5, len(sights))
    elsewhere = [Sight(s.mono_ns, float(n)) for s, n in zip(sights, noise, strict=True)]
    with pytest.raises(UserError, match="does not see the screen"):
        fitted(flashes, elsewhere)
    with pytest.raises(UserError, match="gave 5 pictures"):
        fitted(flashes, sights[:5])


def test_flashing_needs_a_terminal_and_a_camera(tmp_path: Path) -> None:
    done = doctor("--camera", "0")
    assert (done.returncode, "run it in a terminal" in done.stderr) == (2, True)


@pytest.mark.skipif(not shutil.which("gst-launch-1.0"), reason="gst-launch-1.0 is not installed")
def test_a_camera_that_films_the_terminal(tmp_path: Path) -> None:
    """The terminal is ours: what it shows is filmed 400 ms late."""
    shown: deque[tuple[float, int]] = deque([(0.0, 40)])
    terminal, theirs = pty.openpty()

    def watch() -> None:
        while True:
            try:
                written = os.read(terminal, 4096).decode()
            except OSError:
                return
            if BRIGHT in written or DARK in written:
                shown.append((time.monotonic(), 200 if BRIGHT in written else 40))

    def film() -> Any:
        until_s = time.monotonic() - 0.4
        level = [level for at_s, level in [*shown] if at_s <= until_s][-1]
        return grey(level) + np.random.default_rng().integers(0, 9, (1, 1, 3), np.uint8)

    threading.Thread(target=watch, daemon=True).start()
    camera = Filmed(tmp_path, film)
    with subprocess.Popen(
        [
            *(sys.executable, "-m", "otter_runtime", "doctor", "--json", "--seconds", "6"),
            *("--camera", camera.source),
        ],
        stdout=subprocess.PIPE,
        stderr=theirs,
    ) as process:
        os.close(theirs)
        out, _ = process.communicate(timeout=120)
    os.close(terminal)
    assert process.returncode == 0
    said = json.loads(out)
    assert 390 <= said["latency_ms"] + said["plus_minus_ms"] <= 1200
    assert said["fit"] > 0.8
