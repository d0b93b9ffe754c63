"""Sensors in a tree of files: a Jetson's, a laptop's, and what is broken."""

from __future__ import annotations

from pathlib import Path

import pytest

from otter_runtime.sensors import Reading, Sensors, parse

TEGRASTATS = (
    "11-22-2026 20:00:00 RAM 3456/7620MB (lfb 4x4MB) SWAP 0/3810MB (cached 0MB) CPU [12%@1510,"
    "5%@1510,off,off] EMC_FREQ 1%@2133 GR3D_FREQ 45%@[624] cpu@49.5C soc2@47.031C soc0@-256C "
    "gpu@48.2C tj@50.25C VDD_IN 4970mW/4970mW VDD_CPU_GPU_CV 1200mW/1200mW"
)


def written(root: Path, name: str, text: str) -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text + "\n")
    return path


@pytest.fixture
def jetson(tmp_path: Path) -> Path:
    zones = {"cpu-thermal": "61500", "tj-thermal": "63250", "cv0-thermal": "-256000"}
    for number, (kind, temperature) in enumerate(zones.items()):
        written(tmp_path, f"sys/class/thermal/thermal_zone{number}/type", kind)
        written(tmp_path, f"sys/class/thermal/thermal_zone{number}/temp", temperature)
    # An engine that is switched off: its zone has a type and cannot be read.
    written(tmp_path, "sys/class/thermal/thermal_zone3/type", "cv1-thermal")
    (tmp_path / "sys/class/thermal/thermal_zone3/temp").mkdir()
    for number, events in ((1, "2"), (3, "5")):
        written(tmp_path, f"sys/class/hwmon/hwmon4/oc{number}_event_cnt", events)
    for core, clock in enumerate(("729600", "1510400")):
        folder = f"sys/devices/system/cpu/cpu{core}/cpufreq"
        written(tmp_path, f"{folder}/scaling_cur_freq", clock)
    written(tmp_path, "sys/class/devfreq/17000000.gpu/cur_freq", "612000000")
    written(tmp_path, "var/lib/nvpmodel/status", "pmode:0002")
    modes = "< POWER_MODEL ID=0 NAME=15W >\n< POWER_MODEL ID=2 NAME=MAXN_SUPER >"
    written(tmp_path, "etc/nvpmodel.conf", f"{modes}\n< PM_CONFIG DEFAULT=0 >")
    return tmp_path


def test_a_jetson(jetson: Path) -> None:
    assert Sensors(jetson).read() == Reading(
        63.25, "tj-thermal", 7, "MAXN_SUPER", cpu_mhz=1510.4, gpu_mhz=612.0
    )
    assert Sensors(jetson, ["cpu-thermal"]).read().temperature_c == 61.5
    assert Sensors(jetson, ["gpu-thermal"]).read().temperature_c is None
    (jetson / "etc/nvpmodel.conf").unlink()
    assert Sensors(jetson).read().power_mode == "mode 2"


def test_a_laptop_counts_its_throttling(tmp_path: Path) -> None:
    for core in (0, 1):
        folder = f"sys/devices/system/cpu/cpu{core}/thermal_throttle"
        written(tmp_path, f"{folder}/core_throttle_count", "3")
    assert Sensors(tmp_path).read() == Reading(throttled=6)


def test_where_there_is_nothing_there_is_nothing(tmp_path: Path) -> None:
    assert Sensors(tmp_path).read() == Reading()
    written(tmp_path, "sys/class/thermal/thermal_zone0/temp", "hot")
    written(tmp_path, "sys/class/hwmon/hwmon0/oc1_event_cnt", "")
    assert Sensors(tmp_path).read() == Reading()


def test_a_line_of_tegrastats() -> None:
    heat = {zone: temperature for temperature, zone in parse(TEGRASTATS)}
    assert heat == {"cpu": 49.5, "soc2": 47.031, "gpu": 48.2, "tj": 50.25}


def test_the_last_whole_line_of_its_log_counts(tmp_path: Path) -> None:
    old = "cpu@90C tj@95C\n" * 400
    log = written(tmp_path, "tegrastats.log", old + TEGRASTATS)
    with log.open("a") as file:
        file.write("cpu@99C tj@9")
    reading = Sensors(tmp_path, tegrastats=log).read()
    assert (reading.temperature_c, reading.zone) == (50.25, "tj")
    assert Sensors(tmp_path, tegrastats=tmp_path / "none").read() == Reading()
