"""A Rerun export, read by Rerun: its command verifies the file, its reader gives what was seen."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from otter_robots.messages import Answer, Health
from otter_runtime.trials.check import check
from otter_runtime.trials.exports.export import export
from otter_runtime.trials.exports.job import captured_ns
from otter_runtime.trials.trial import Trial

pytest.importorskip("rerun")

Columns = dict[str, list[Any]]


def exported(trial: Path, to: Path, corrections: Path | None = None) -> Path:
    export(trial, to, "rerun", corrections, lambda *_: None)
    return to


def read(path: Path) -> dict[str, Columns]:
    """Every entity's columns, in the order of the timeline."""
    try:
        from rerun.chunk import RrdReader
    except ImportError:
        return _by_dataframe(path)
    rows: dict[str, list[dict[str, Any]]] = {}
    for chunk in RrdReader(path).stream():
        batch = chunk.to_record_batch()
        rows.setdefault(chunk.entity_path, []).extend(_plain(pa.table(batch)).to_pylist())
    found: dict[str, Columns] = {}
    for entity, told in rows.items():
        told.sort(key=lambda row: row.get("trial", 0))
        found[entity] = {name: [row[name] for row in told if name in row] for name in told[0]}
    return found


def _plain(table: pa.Table) -> pa.Table:
    """With every time in nanoseconds, which Python's own has no room for."""
    for at, field in enumerate(table.schema):
        if pa.types.is_timestamp(field.type) or pa.types.is_duration(field.type):
            table = table.set_column(at, field.name, table[field.name].cast(pa.int64()))
    return table


def _by_dataframe(path: Path) -> dict[str, Columns]:
    """The same in versions before 0.32."""
    import rerun as rr

    (recording,) = rr.dataframe.load_archive(path).all_recordings()
    found: dict[str, Columns] = {}
    for column in recording.schema().component_columns():
        entity = column.entity_path
        if entity in found:
            continue
        view = recording.view(index="trial", contents=entity)
        table = (view.select_static() if column.is_static else view.select()).read_all()
        columns = _plain(table).to_pydict()
        found[entity] = {name.removeprefix(f"{entity}:"): one for name, one in columns.items()}
    return found


def command() -> Path:
    path = shutil.which("rerun", path=os.pathsep.join([str(Path(sys.executable).parent)]))
    assert path is not None
    return Path(path)


def test_its_own_command_verifies_the_file(field_trial: Path, tmp_path: Path) -> None:
    path = exported(field_trial, tmp_path / "t.rrd")
    done = subprocess.run(
        [command(), "rrd", "verify", path],
        capture_output=True,
        text=True,
        env={**os.environ, "HOME": str(tmp_path)},
        timeout=120,
    )
    assert (done.returncode, "verified without error" in done.stdout + done.stderr) == (0, True)
    listed = subprocess.run(
        [command(), "rrd", "print", path],
        capture_output=True,
        text=True,
        env={**os.environ, "HOME": str(tmp_path)},
        timeout=120,
    )
    # It opens with a layout of ours, not with one that was guessed.
    assert "Blueprint" in listed.stdout
    assert "/viewport" in listed.stdout


def test_frames_are_the_recorded_files_at_the_moment_of_their_capture(
    field_trial: Path, tmp_path: Path
) -> None:
    found = read(exported(field_trial, tmp_path / "t.rrd"))
    sights = list(Trial(field_trial).sights())
    camera = found["/camera"]
    files = [bytes(blob[0]) for blob in camera["EncodedImage:blob"]]
    assert files == [sight.file for sight in sights]
    assert camera["trial"] == [captured_ns(sight) for sight in sights]
    assert camera["frame"] == [sight.show.stamp.id for sight in sights]


def test_answers_stand_on_the_timeline_with_their_figures(
    field_trial: Path, tmp_path: Path
) -> None:
    found = read(exported(field_trial, tmp_path / "t.rrd"))
    records = list(Trial(field_trial).records({"/answer"}))
    answers = [one.message for one in records if isinstance(one.message, Answer)]
    told = found["/answer"]
    assert told["trial"] == [one.log_ns for one in records]
    assert [tuple(ids) for ids in told["frame_ids"]] == [one.frame_ids for one in answers]
    assert [tuple(steps) for steps in told["steps"]] == [one.steps for one in answers]
    ages = [value[0] for value in found["/plots/age/age_ms"]["Scalars:scalars"]]
    assert ages == pytest.approx([one.age_ms for one in answers])
    pages = [page[0] for page in told["TextDocument:text"]]
    assert all(one.text in page for one, page in zip(answers, pages, strict=True))
    assert sum("Where is the red box?" in page for page in pages) == 1
    health = [one.message for one in Trial(field_trial).records({"/health"})]
    rss = [value[0] for value in found["/plots/health/rss_mib"]["Scalars:scalars"]]
    assert rss == pytest.approx([one.rss_mib for one in health if isinstance(one, Health)])


def test_faults_heat_and_abstentions_are_in_the_log(eventful_trial: Path, tmp_path: Path) -> None:
    marks = tmp_path / "marks.jsonl"
    marks.write_text('{"seq": 1, "corrected": "Turn right."}')
    found = read(exported(eventful_trial, tmp_path / "t.rrd", marks))

    def log(kind: str) -> list[tuple[str, str]]:
        columns = found[f"/log/{kind}"]
        levels, texts = columns["TextLog:level"], columns["TextLog:text"]
        return [(level[0], text[0]) for level, text in zip(levels, texts, strict=True)]

    assert log("fault") == [
        ("ERROR", "camera: it gives no pictures"), ("INFO", "camera is over: it is back"),
    ]  # fmt: skip
    assert log("governor") == [("WARN", "step 1 of 3: 71.5 C at cpu")]
    assert log("abstain") == [("WARN", "stale: the newest frame is 3 s old")]
    assert log("command")[0][1].startswith("stop")
    assert log("correction") == [("INFO", "Turn right.")]
    heat = found["/plots/heat/temperature_c"]["Scalars:scalars"]
    assert heat == [[71.5], [71.5]]


def test_a_damaged_trial_is_exported_as_far_as_it_is_whole_and_says_what_is_missing(
    damaged_trial: Path, tmp_path: Path
) -> None:
    told = export(damaged_trial, tmp_path / "t.rrd", "rerun", None, lambda *_: None)
    assert any("damaged in bytes" in one for one in told.missing)
    assert any("was not finished" in one for one in told.missing)
    found = read(tmp_path / "t.rrd")
    whole = check(damaged_trial)
    assert 0 < len(found["/camera"]["trial"]) == whole.topics["/camera"]
    assert len(found["/answer"]["trial"]) == whole.topics["/answer"] == told.written["answer"]
    assert "damaged in bytes" in found["/about"]["TextDocument:text"][0][0]
