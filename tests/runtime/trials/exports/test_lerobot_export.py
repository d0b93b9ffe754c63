"""A LeRobotDataset v3 export: by its layout with pyarrow, and by LeRobot's own class:

LEROBOT_PYTHON=VENV/bin/python pytest -m slow tests/runtime/trials/exports/test_lerobot_export.py

where VENV has lerobot 0.4.4 (`pip install lerobot==0.4.4`). It wants other versions of torch and
torchvision than the rest of these tests, so it has an environment of its own. The layout is that of
lerobot/datasets/utils.py and lerobot_dataset.py of that version.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from otter_robots.messages import Answer
from otter_runtime.errors import UserError
from otter_runtime.trials import picture
from otter_runtime.trials.check import check
from otter_runtime.trials.exports.export import export
from otter_runtime.trials.exports.job import captured_ns
from otter_runtime.trials.exports.lerobot_stats import Levels, merged, of_numbers
from otter_runtime.trials.trial import Trial

CAMERA = "observation.images.camera"
READER = """
import json, sys
from lerobot.datasets.lerobot_dataset import LeRobotDataset
data = LeRobotDataset("otter/trial", root=sys.argv[1])
pair = LeRobotDataset("otter/trial", root=sys.argv[1], delta_timestamps={sys.argv[2]: [-0.25, 0.0]})
rows = [data[at] for at in range(len(data))]
print(json.dumps({
    "fps": data.fps,
    "episodes": data.num_episodes,
    "features": sorted(data.features),
    "sums": [round(float(row[sys.argv[2]].sum()), 2) for row in rows],
    "shape": list(rows[0][sys.argv[2]].shape),
    "pair": list(pair[3][sys.argv[2]].shape),
    "tasks": [row["task"] for row in rows],
    "subtasks": [row["subtask"] for row in rows],
    "answers": sum(len(json.loads(row["answers"])) for row in rows),
    "mean": data.meta.stats[sys.argv[2]]["mean"].ravel().tolist(),
}))
"""


def exported(trial: Path, to: Path, corrections: Path | None = None) -> Path:
    export(trial, to, "lerobot", corrections, lambda *_: None)
    return to


def info(data: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((data / "meta" / "info.json").read_text())
    return found


def rows(data: Path) -> list[dict[str, Any]]:
    files = sorted(data.glob(info(data)["data_path"].partition("/")[0] + "/*/*.parquet"))
    return [row for file in files for row in pq.read_table(file).to_pylist()]


def episodes(data: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = pq.read_table(
        data / "meta/episodes/chunk-000/file-000.parquet"
    ).to_pylist()
    return found


def texts(data: Path, name: str) -> list[str]:
    """The index of a frame of pandas, in the order of its numbers."""
    table = pq.read_table(data / "meta" / f"{name}s.parquet")
    said = json.loads(table.schema.metadata[b"pandas"])
    assert said["index_columns"] == [name]
    assert table[f"{name}_index"].to_pylist() == list(range(len(table)))
    found: list[str] = table[name].to_pylist()
    return found


def test_a_row_is_a_frame_with_its_file_and_when_it_was_captured(
    field_trial: Path, tmp_path: Path
) -> None:
    data = exported(field_trial, tmp_path / "data")
    sights, made = list(Trial(field_trial).sights()), rows(data)
    assert [row[CAMERA]["bytes"] for row in made] == [sight.file for sight in sights]
    assert [row["frame_id"] for row in made] == [sight.show.stamp.id for sight in sights]
    began_ns = captured_ns(sights[0])
    assert [row["captured_s"] for row in made] == [
        (captured_ns(sight) - began_ns) / 1e9 for sight in sights
    ]
    assert [row["index"] for row in made] == list(range(len(sights)))
    told = info(data)
    assert (told["codebase_version"], told["total_frames"]) == ("v3.0", len(sights))
    assert told["fps"] == 4  # of the clips, however quickly they were played
    assert told["features"][CAMERA]["shape"] == [256, 256, 3]
    assert set(told["features"]) == set(made[0])
    assert len(told["features"]["telemetry"]["names"]) == len(made[0]["telemetry"])


def test_an_episode_is_a_scene_at_an_even_rate(field_trial: Path, tmp_path: Path) -> None:
    data = exported(field_trial, tmp_path / "data")
    made, parts = rows(data), episodes(data)
    scenes = [sight.show.stamp.scene for sight in Trial(field_trial).sights()]
    assert [part["length"] for part in parts] == [scenes.count(0), scenes.count(1)]
    assert info(data)["splits"] == {"train": "0:2"}
    for number, part in enumerate(parts):
        of = made[part["dataset_from_index"] : part["dataset_to_index"]]
        assert [row["episode_index"] for row in of] == [number] * part["length"]
        assert [row["frame_index"] for row in of] == list(range(part["length"]))
        assert [row["timestamp"] for row in of] == [at / 4 for at in range(part["length"])]
        names = {texts(data, "task")[row["task_index"]] for row in of}
        assert names == set(part["tasks"]) == {"What should I do next?"}
        path = info(data)["data_path"].format(
            chunk_index=part["data/chunk_index"], file_index=part["data/file_index"]
        )
        assert (data / path).is_file()


def test_what_was_said_stands_at_the_frame_it_was_said_of(
    field_trial: Path, tmp_path: Path
) -> None:
    marks = tmp_path / "marks.jsonl"
    said = [one.message for one in Trial(field_trial).records({"/answer"})]
    standing = [
        at for at, one in enumerate(said) if isinstance(one, Answer) and one.instruction is not None
    ]
    marks.write_text(json.dumps({"seq": standing[1] + 1, "corrected": "Turn round."}))
    data = exported(field_trial, tmp_path / "data", marks)
    made, subtasks = rows(data), texts(data, "subtask")
    found = [answer for row in made for answer in json.loads(row["answers"])]
    assert sorted(one["seq"] for one in found) == list(range(1, len(said) + 1))
    for row in made:
        for answer in json.loads(row["answers"]):
            assert answer["frame_ids"][-1] == row["frame_id"]
            assert answer["text"] == said[answer["seq"] - 1].text
            assert {"steps", "confidence", "age_ms", "question"} <= set(answer)
    assert sum(one["question"] == "Where is the red box?" for one in found) == 1
    (corrected,) = [one for one in found if "verdict" in one]
    (row,) = [row for row in made if row["frame_id"] == corrected["frame_ids"][-1]]
    assert subtasks[row["subtask_index"]] == "Turn round."
    assert subtasks[0] == ""


def test_events_heat_and_another_size(eventful_trial: Path, tmp_path: Path) -> None:
    data = exported(eventful_trial, tmp_path / "data")
    made, told = rows(data), info(data)
    events = [event["type"] for row in made for event in json.loads(row["events"])]
    assert events == ["Governor", "Fault", "Abstain", "Fault"]
    heat = told["features"]["telemetry"]["names"].index("temperature_c")
    assert [row["telemetry"][heat] for row in made] == [0.0] * 4 + [71.5] * 3
    assert (told["fps"], told["features"][CAMERA]["shape"]) == (2, [16, 16, 3])
    assert {picture.decode(row[CAMERA]["bytes"]).shape for row in made} == {(16, 16, 3)}
    assert [part["length"] for part in episodes(data)] == [4, 3]


def test_a_damaged_trial_says_what_it_lacks(damaged_trial: Path, tmp_path: Path) -> None:
    data = exported(damaged_trial, tmp_path / "data")
    about = json.loads((data / "meta" / "otter_edge.json").read_text())
    assert any("damaged in bytes" in one for one in about["missing"])
    assert 0 < len(rows(data)) == check(damaged_trial).topics["/camera"]


def test_statistics_are_those_of_the_pixels(field_trial: Path, tmp_path: Path) -> None:
    data = exported(field_trial, tmp_path / "data")
    pixels = np.stack([sight.frame().pixels for sight in Trial(field_trial).sights()]) / 255
    told = json.loads((data / "meta" / "stats.json").read_text())
    assert np.shape(told[CAMERA]["mean"]) == (3, 1, 1)
    assert np.ravel(told[CAMERA]["mean"]) == pytest.approx(pixels.mean((0, 1, 2)))
    assert np.ravel(told[CAMERA]["std"]) == pytest.approx(pixels.std((0, 1, 2)))
    assert np.ravel(told[CAMERA]["max"]) == pytest.approx(pixels.max((0, 1, 2)))
    assert told[CAMERA]["count"] == [len(pixels)]
    first = episodes(data)[0]
    assert first["stats/timestamp/max"] == [(first["length"] - 1) / 4]


def test_parts_make_the_whole() -> None:
    dice = np.random.default_rng(3)
    values = dice.normal(size=(50, 2))
    whole, parts = of_numbers(list(values)), [of_numbers(list(values[:20]))]
    parts.append(of_numbers(list(values[20:])))
    for name in ("min", "max", "mean", "std", "count"):
        assert merged(parts)[name] == pytest.approx(whole[name])
    levels, pixels = Levels(), dice.integers(0, 256, (40, 40, 3), dtype=np.uint8)
    levels.add(pixels)
    middle = np.quantile(pixels.reshape(-1, 3) / 255, 0.5, axis=0, method="inverted_cdf")
    assert levels.stats()["q50"].ravel() == pytest.approx(middle)


def test_a_trial_without_a_picture_is_no_data(eventful_trial: Path, tmp_path: Path) -> None:
    (file,) = eventful_trial.glob("*.mcap")
    blind = tmp_path / "blind.mcap"
    _without_pictures(file, blind)
    with pytest.raises(UserError, match="has no picture"):
        exported(blind, tmp_path / "data")
    assert not (tmp_path / "data").exists()


def _without_pictures(file: Path, to: Path) -> None:
    from mcap.writer import Writer

    from otter_runtime.trials.salvage import Salvage

    read = Salvage(file)
    with to.open("wb") as out:
        writer = Writer(out)
        writer.start()
        ids = {}
        for chunk in read.chunks():
            for one in chunk.messages:
                channel = read.channels[one.channel_id]
                if channel.topic == "/camera":
                    continue
                if channel.topic not in ids:
                    ids[channel.topic] = writer.register_channel(channel.topic, "json", 0)
                writer.add_message(
                    ids[channel.topic], one.log_time, one.data, one.publish_time, one.sequence
                )
        writer.finish()


@pytest.mark.slow
def test_lerobots_own_class_reads_it(field_trial: Path, tmp_path: Path) -> None:
    python = os.environ.get("LEROBOT_PYTHON", sys.executable)
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    clean |= {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "hf")}
    if subprocess.run([python, "-c", "import lerobot"], env=clean, check=False).returncode:
        pytest.skip("lerobot is not there; give an interpreter that has it as LEROBOT_PYTHON")
    data = exported(field_trial, tmp_path / "data")
    done = subprocess.run(
        [python, "-c", READER, str(data), CAMERA],
        capture_output=True,
        text=True,
        env=clean,
        cwd=tmp_path,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    made = rows(data)
    assert (told["fps"], told["episodes"]) == (4, 2)
    assert told["features"] == sorted(info(data)["features"])
    sums = [picture.decode(row[CAMERA]["bytes"]).sum(dtype=np.float64) / 255 for row in made]
    assert told["sums"] == pytest.approx(sums, rel=1e-5)
    assert (told["shape"], told["pair"]) == ([3, 256, 256], [2, 3, 256, 256])
    assert told["tasks"] == [texts(data, "task")[row["task_index"]] for row in made]
    assert told["subtasks"] == [texts(data, "subtask")[row["subtask_index"]] for row in made]
    assert told["answers"] == sum(len(json.loads(row["answers"])) for row in made)
