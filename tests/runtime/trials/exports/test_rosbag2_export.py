"""A rosbag2 export, read by rosbags: every message by its own definition, in time, complete."""

from __future__ import annotations

import json
import sqlite3
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
import yaml
from rosbags.highlevel import AnyReader
from rosbags.rosbag2 import Reader

from otter_robots.messages import Answer
from otter_runtime.errors import UserError
from otter_runtime.trials.check import check
from otter_runtime.trials.exports.export import export
from otter_runtime.trials.exports.job import captured_ns
from otter_runtime.trials.trial import Trial

Said = list[tuple[int, Any]]


def exported(trial: Path, to: Path) -> Path:
    export(trial, to, "rosbag2", None, lambda *_: None)
    return to


def read(bag: Path) -> dict[str, Said]:
    """(time, message) by topic, decoded by the definitions that the bag itself has."""
    found: dict[str, Said] = defaultdict(list)
    with AnyReader([bag]) as reader:
        for connection, at_ns, data in reader.messages():
            found[connection.topic].append((at_ns, reader.deserialize(data, connection.msgtype)))
    return found


def noted(bag: Path) -> dict[str, Any]:
    """What is said of the whole trial."""
    text = (bag / "metadata.yaml").read_text()
    metadata = yaml.safe_load(text)["rosbag2_bagfile_information"]
    found: dict[str, Any] = json.loads(metadata["custom_data"]["otter_edge"])
    return found


def test_the_bag_is_sound_and_says_which_types_it_has(field_trial: Path, tmp_path: Path) -> None:
    bag = exported(field_trial, tmp_path / "bag")
    with sqlite3.connect(bag / "bag.db3") as base:
        assert base.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    base.close()
    with Reader(bag) as reader:
        kinds = {one.topic: one.msgtype for one in reader.connections}
        assert all(one.msgdef.data and one.digest for one in reader.connections)
        assert reader.message_count == sum(len(said) for said in read(bag).values())
    assert kinds["/otter/camera/compressed"] == "sensor_msgs/msg/CompressedImage"
    assert kinds["/diagnostics"] == "diagnostic_msgs/msg/DiagnosticArray"
    assert kinds["/rosout"] == "rcl_interfaces/msg/Log"
    assert kinds["/otter/answer/age_ms"] == "std_msgs/msg/Float64"
    assert noted(bag)["trial"]["name"] == Trial(field_trial).name
    assert noted(bag)["missing"] == []


def test_frames_are_the_recorded_files_at_their_capture(field_trial: Path, tmp_path: Path) -> None:
    seen = read(exported(field_trial, tmp_path / "bag"))["/otter/camera/compressed"]
    sights = list(Trial(field_trial).sights())
    assert [message.data.tobytes() for _, message in seen] == [sight.file for sight in sights]
    assert [at_ns for at_ns, _ in seen] == [captured_ns(sight) for sight in sights]
    stamps = [one.header.stamp.sec * 10**9 + one.header.stamp.nanosec for _, one in seen]
    assert stamps == [captured_ns(sight) for sight in sights]
    assert {message.format for _, message in seen} == {"png"}


def test_answers_and_questions_are_as_on_a_robots_network(
    field_trial: Path, tmp_path: Path
) -> None:
    found = read(exported(field_trial, tmp_path / "bag"))
    records = list(Trial(field_trial).records({"/answer"}))
    answers = [one.message for one in records if isinstance(one.message, Answer)]
    assert [json.loads(one.data) for _, one in found["/otter/answer"]] == [
        one.fields for one in records
    ]
    assert [at_ns for at_ns, _ in found["/otter/answer"]] == [one.log_ns for one in records]
    assert [one.data for _, one in found["/otter/plan"]] == [one.text for one in answers]
    assert [one.data for _, one in found["/otter/question"]] == ["Where is the red box?"]
    ages = [one.data for _, one in found["/otter/answer/age_ms"]]
    assert ages == [one.age_ms for one in answers]
    status = found["/diagnostics"][0][1].status[0]
    assert {one.key for one in status.values} >= {"rss_mib", "frames", "answers"}


def test_what_went_wrong_is_in_ros_own_log(eventful_trial: Path, tmp_path: Path) -> None:
    found = read(exported(eventful_trial, tmp_path / "bag"))
    log = [(one.level, one.name, one.msg) for _, one in found["/rosout"]]
    assert log == [
        (30, "otter_edge.governor", "step 1 of 3: 71.5 C at cpu"),
        (40, "otter_edge.fault", "camera: it gives no pictures"),
        (30, "otter_edge.abstain", "stale: the newest frame is 3 s old"),
        (30, "otter_edge.command", "stop"),
        (20, "otter_edge.fault", "camera is over: it is back"),
    ]
    assert [one.data for _, one in found["/otter/governor/temperature_c"]] == [71.5]
    said = [json.loads(one.data)["type"] for _, one in found["/otter/answer"]]
    assert said == ["Answer", "Abstain"]


def test_a_damaged_trial_gives_what_is_whole(damaged_trial: Path, tmp_path: Path) -> None:
    bag = exported(damaged_trial, tmp_path / "bag")
    found, whole = read(bag), check(damaged_trial).topics
    assert 0 < len(found["/otter/camera/compressed"]) == whole["/camera"]
    assert len(found["/otter/answer"]) == whole["/answer"]
    assert any("damaged in bytes" in one for one in noted(bag)["missing"])


def test_a_bag_that_cannot_be_begun_is_said(field_trial: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is there already"):
        exported(field_trial, tmp_path)
