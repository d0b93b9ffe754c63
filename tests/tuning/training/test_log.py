"""The log: TensorBoard's own reader finds in the events what the CSV says, over a cut as well."""

from __future__ import annotations

from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from otter_tuning.training.log import EVENTS, FIELDS, Log

SCALARS = [name for name in FIELDS if name not in ("step", "on")]


def events(folder: Path) -> dict[tuple[str, int], float]:
    """(training/loss, step) -> value, as TensorBoard reads them."""
    reader = EventAccumulator(str(folder / EVENTS))
    reader.Reload()
    return {
        (tag, one.step): one.value
        for tag in reader.Tags()["scalars"]
        for one in reader.Scalars(tag)
    }


def rows(log: Log) -> dict[tuple[str, int], float]:
    return {
        (f"{row['on']}/{name}", int(row["step"])): float(row[name])
        for row in log.rows()
        for name in SCALARS
        if row[name]
    }


def write(log: Log, steps: range) -> None:
    for step in steps:
        log.write("training", step, epoch=step / 4, loss=3 / step, rate=1e-3, norm=0.5, tokens=90)
        if step % 3 == 0:
            log.write("validation", step, loss=4 / step, right=0.1 * step, tokens=50)
    log.close()


def test_the_events_are_the_csv(tmp_path: Path) -> None:
    log = Log(tmp_path, 0)
    write(log, range(1, 8))
    assert len(rows(log)) == 7 * 5 + 2 * 3
    assert events(tmp_path) == pytest.approx(rows(log))


def test_a_cut_run_says_each_step_once(tmp_path: Path) -> None:
    """It was cut at step 6, its state was kept at step 4."""
    write(Log(tmp_path, 0), range(1, 7))
    log = Log(tmp_path, 4)
    write(log, range(5, 10))
    assert sorted(int(row["step"]) for row in log.rows() if row["on"] == "training") == [
        *range(1, 10)
    ]
    assert events(tmp_path) == pytest.approx(rows(log))
