"""`otter-edge bench`: real stages; a made-up Jetson's power modes behind a stand-in nvpmodel."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from otter_runtime.bench.device_bench import DeviceBench, ModeReport
from otter_runtime.bench.devices import device_of
from otter_runtime.bench.power_modes import Mode, PowerModes
from otter_runtime.bench.rows import table
from otter_runtime.bench.stages import NAMES
from otter_runtime.bundle import Bundle
from otter_runtime.cli import main
from otter_runtime.errors import EngineError

TinyBundle = Callable[..., Path]
MODEL = "NVIDIA Jetson Orin NX Engineering Reference Developer Kit"
# As JetPack 6 writes it, cut down; the last one wants a restart.
MODES = """
< POWER_MODEL ID=0 NAME=MAXN_SUPER >
CPU_ONLINE CORE_0 1
< POWER_MODEL ID=1 NAME=10W >
< POWER_MODEL ID=2 NAME=RESTARTS >
< PM_CONFIG DEFAULT=1 >
"""
NVPMODEL = """#!/bin/sh
# nvpmodel -m ID: takes it, but for one that it would restart the machine for.
if [ "$2" = 2 ]; then
    read answer; echo "NVPM WARN: Reboot required"; [ "$answer" = no ]; exit
fi
echo "pmode:000$2" >{root}/var/lib/nvpmodel/status
echo "$2" >>{root}/taken
"""


@pytest.fixture
def jetson(tmp_path: Path) -> Path:
    """A tree with a model, two clocks, heat and three power modes; the second is on."""
    files = {
        "proc/device-tree/model": MODEL + "\0",
        "etc/nvpmodel.conf": MODES,
        "var/lib/nvpmodel/status": "pmode:0001\n",
        "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": "1984000",
        "sys/class/devfreq/17000000.gpu/cur_freq": "918000000",
        "sys/class/thermal/thermal_zone0/type": "tj-thermal",
        "sys/class/thermal/thermal_zone0/temp": "51000",
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (tmp_path / "nvpmodel").write_text(NVPMODEL.replace("{root}", str(tmp_path)))
    (tmp_path / "nvpmodel").chmod(0o755)
    return tmp_path


def modes_of(root: Path) -> PowerModes:
    return PowerModes(root, [str(root / "nvpmodel")], settles_s=0)


def test_stages_are_measured_cold_and_warm(
    tiny_bundle: TinyBundle, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["bench", "--bundle", str(tiny_bundle("mpt", "int8")), "--seconds", "0", "--json"]
    assert main([*words, "--threads", "1"]) == 0
    out, err = capsys.readouterr()
    told = json.loads(out)
    assert tuple(told["stages"]) == NAMES
    for stage in told["stages"].values():
        assert 0 < stage["median_ms"] <= stage["p99_ms"]
        assert stage["cold_ms"] > 0
        assert stage["runs"] >= 5
    assert told["load_s"] > 0
    assert "encode" in err


def test_a_pc_is_measured_in_the_one_mode_it_has(tiny_bundle: TinyBundle, tmp_path: Path) -> None:
    bundle = Bundle.load(tiny_bundle("mpt", "int8"))
    words = ["--bundle", str(bundle.path), "--seconds", "0"]
    bench = DeviceBench(bundle, words, on_gpu=True, root=tmp_path)
    said: list[str] = []
    (report,) = bench.run(said.append)
    assert said == ["measuring this machine"]
    assert (report.mode, report.predicted, report.note) == ("", None, "")
    assert report.measured is not None
    assert "| the only one |" in table("a PC", [report])


def test_every_power_mode_is_measured_and_the_one_before_put_back(
    tiny_bundle: TinyBundle, jetson: Path
) -> None:
    bundle = Bundle.load(tiny_bundle("mpt", "int8"))
    words = ["--bundle", str(bundle.path), "--seconds", "0"]
    bench = DeviceBench(bundle, words, on_gpu=True, modes=modes_of(jetson), root=jetson)
    first, second, third = bench.run(lambda line: None)
    assert bench.device == MODEL
    assert [one.mode for one in (first, second, third)] == ["MAXN_SUPER", "10W", "RESTARTS"]
    assert (first.cpu_mhz, first.gpu_mhz, first.temperature_c) == (1984, 918, 51)
    for report in (first, second):
        assert report.measured is not None
        assert report.measured["bundle"] == bundle.manifest.name
    assert first.predicted is not None
    assert second.predicted is not None
    assert first.predicted.encode_ms <= second.predicted.encode_ms  # Super is the faster one
    assert third.measured is None
    assert "Reboot required" in third.note
    assert (jetson / "taken").read_text().split() == ["0", "1"]
    rows = table(bench.device, [first, second, third]).splitlines()
    assert [row.split(" | ")[1] for row in rows[2:5]] == ["MAXN_SUPER", "10W", "RESTARTS"]
    assert "1984/918" in rows[2]
    assert rows[-1].startswith("RESTARTS: not measured, nvpmodel did not take it (NVPM WARN")


def test_the_mode_before_is_put_back_where_measuring_fails(
    tiny_bundle: TinyBundle, jetson: Path
) -> None:
    bundle = Bundle.load(tiny_bundle("mpt", "int8"))
    words = ["--bundle", str(jetson / "none")]
    bench = DeviceBench(bundle, words, on_gpu=False, modes=modes_of(jetson), root=jetson)
    with pytest.raises(EngineError, match="ended with 2 in MAXN_SUPER"):
        bench.run(lambda line: None)
    assert modes_of(jetson).present == "10W"


def test_a_mode_that_may_not_be_taken_says_what_helps(jetson: Path) -> None:
    modes = PowerModes(jetson, [str(jetson / "missing")], settles_s=0)
    assert modes.take(Mode(1, "10W")) == ""  # it is on
    assert "did not do it" in modes.take(Mode(0, "MAXN_SUPER"))
    (jetson / "nvpmodel").write_text("#!/bin/sh\nexit 1\n")
    assert modes_of(jetson).take(Mode(0, "MAXN_SUPER")).endswith("run this with sudo")


def test_without_nvpmodel_there_are_no_modes(jetson: Path, tmp_path: Path) -> None:
    assert PowerModes(jetson, []).found() == []
    assert PowerModes(tmp_path / "nothing", ["nvpmodel"]).found() == []


@pytest.mark.parametrize(
    ("model", "mode", "name"),
    [
        ("NVIDIA Jetson Orin Nano Developer Kit", "15W", "Orin Nano 8GB"),
        ("NVIDIA Jetson Orin Nano Developer Kit Super", "MAXN_SUPER", "Orin Nano 8GB Super"),
        (MODEL, "25W", "Orin NX 16GB"),
        ("NVIDIA Jetson AGX Orin Developer Kit", "MAXN", "AGX Orin 64GB"),
        ("NVIDIA Jetson AGX Thor Developer Kit", "120W", "Thor T5000"),
        ("Raspberry Pi 5", "", None),
    ],
)
def test_a_device_is_known_by_its_words(model: str, mode: str, name: str | None) -> None:
    found = device_of(model, mode)
    assert (found.name if found else None) == name


def test_a_row_tells_what_slowed_it_down() -> None:
    report = ModeReport(mode="15W", throttled=3, note="")
    assert "15W: the hardware slowed itself down 3 times meanwhile" in table("Orin", [report])
