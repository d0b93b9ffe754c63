"""A trial with everything that a quiet run does not have, and one that is damaged and torn."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from otter_robots.envelope import seal
from otter_robots.messages import Abstain, Answer, Command, Fault, Governor, Health, Message
from otter_robots.topics import ANSWER, COMMAND, FAULT, GOVERNOR, HEALTH, Topic
from otter_runtime.config import RecordConfig
from otter_runtime.frame import Frame, Stamp
from otter_runtime.trials.recorder import Recorder
from otter_runtime.trials.segment import PART


@pytest.fixture
def eventful_trial(tmp_path: Path) -> Path:
    """Frames of two cameras, a fault and its end, heat, an abstention, a stop; by the recorder."""
    recorder = Recorder(RecordConfig(folder=str(tmp_path / "trials"), reserve_mb=0), {})
    seqs: dict[str, int] = {}

    def publish(topic: Topic, message: Message) -> None:
        seqs[topic.name] = seqs.get(topic.name, 0) + 1
        envelope = seal(message, topic=topic.name, epoch="1-a", seq=seqs[topic.name])
        recorder.publications([(envelope, message, topic.journalled)])()

    def show(number: int, scene: int, size: int) -> None:
        pixels = np.full((size, size, 3), 10 * number, np.uint8)
        ns = number * 500_000_000
        stamp = Stamp(
            id=number, scene=scene, source=f"cam{scene}", index=number, stream_ns=ns, mono_ns=ns,
            wall_ns=ns,
        )  # fmt: skip
        recorder.frame(Frame(stamp, pixels))

    for number in range(4):
        show(number, 0, 16)
    publish(HEALTH, Health(uptime_s=1.0, temperature_c=71.5, rss_mib=200.0, frames=4))
    publish(GOVERNOR, Governor(step=1, steps=3, reason="71.5 C at cpu", temperature_c=71.5))
    answer = Answer(
        text="Turn left, then stop.",
        steps=("Turn left", "Stop"),
        frame_ids=(2, 3),
        captured_mono_ns=0,
        captured_wall_ns=0,
        age_ms=80.0,
        ttl_ms=3000.0,
        model_hash="abc",
        instruction="Park.",
        confidence=0.75,
        source="cam0",
        timing={"total_ms": 40.0},
    )
    publish(ANSWER, answer)
    publish(FAULT, Fault(code="camera", detail="it gives no pictures"))
    publish(ANSWER, Abstain(reason="stale", detail="the newest frame is 3 s old"))
    publish(COMMAND, Command(name="stop"))
    publish(FAULT, Fault(code="camera", detail="it is back", cleared=True))
    for number in range(4, 7):
        show(number, 1, 24)
    recorder.close()
    return recorder.folder


@pytest.fixture
def damaged_trial(field_trial: Path, tmp_path: Path) -> Path:
    """The field trial as a power cut and a bad disk leave it: its end gone, a byte changed."""
    folder = tmp_path / "damaged"
    shutil.copytree(field_trial, folder)
    (file,) = folder.glob("*.mcap")
    data = bytearray(file.read_bytes())
    data[len(data) // 3] ^= 0x55
    file.with_name(file.name + PART).write_bytes(data[: len(data) * 2 // 3])
    file.unlink()
    return folder
