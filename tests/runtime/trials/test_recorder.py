"""The recorder's thread: what it may leave out and what not, full disks, and what goes first."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from otter_robots.envelope import Envelope, seal
from otter_robots.messages import Abstain, AnswerDelta, Fault, Message
from otter_robots.topics import ANSWER, DELTA, FAULT, Topic
from otter_runtime.config import RecordConfig
from otter_runtime.frame import Frame, Stamp
from otter_runtime.trials import picture
from otter_runtime.trials.check import check
from otter_runtime.trials.recorder import Recorder
from otter_runtime.trials.segment import PART
from otter_runtime.trials.shelf import KEEP, Policy, Shelf, trials_in
from otter_runtime.trials.trial import SHOW, Trial

LIMIT_S = 30.0
PIXELS = np.full((8, 8, 3), 7, np.uint8)


def said(topic: Topic, message: Message, seq: int) -> tuple[Envelope, Message, bool]:
    envelope = seal(message, topic=topic.name, epoch="1-a", seq=seq)
    return envelope, message, topic.journalled


def an_answer(seq: int) -> tuple[Envelope, Message, bool]:
    return said(ANSWER, Abstain(reason="busy", detail=f"number {seq}"), seq)


def a_frame(number: int) -> Frame:
    stamp = Stamp(id=number, scene=0, source="c", index=number, stream_ns=0, mono_ns=0, wall_ns=0)
    return Frame(stamp, PIXELS)


def recorder(folder: Path, **changes: object) -> Recorder:
    config = RecordConfig(folder=str(folder), reserve_mb=0, **changes)  # type: ignore[arg-type]
    return Recorder(config, {})


def test_what_was_waited_for_is_on_the_disk_before_anything_is_finished(tmp_path: Path) -> None:
    one = recorder(tmp_path)
    for seq in range(1, 20):
        one.publications([an_answer(seq), said(FAULT, Fault(code="a", detail="b"), seq)])()
        (part,) = one.folder.glob(f"*{PART}")
        copy = tmp_path / "copy.mcap"
        copy.write_bytes(part.read_bytes())
        assert [r.fields["seq"] for r in Trial(copy).records({"/abstain"})][-1] == seq
    one.close()
    assert check(one.folder).whole


def test_a_full_queue_costs_frames_and_no_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = threading.Event()
    encode = picture.encode

    def slow(frame: Frame) -> tuple[picture.Encoding, bytes]:
        go_on.wait(LIMIT_S)
        return encode(frame)

    monkeypatch.setattr(picture, "encode", slow)
    one = recorder(tmp_path, queue_frames=3)
    for number in range(10):
        one.frame(a_frame(number))
        one.publications([said(DELTA, AnswerDelta(text="x", index=number), number + 1)])
    assert one.dropped >= 6
    go_on.set()
    for seq in range(1, 6):
        one.publications([an_answer(seq)])()
    one.close()
    report = check(one.folder)
    assert report.topics["/abstain"] == 5
    assert report.topics["/delta"] == 10
    assert report.topics[SHOW] == 10
    assert report.unseen == one.dropped == one.unrecorded
    assert report.missing == 0
    assert sum(bool(sight.file) for sight in Trial(one.folder).sights()) == 10 - one.dropped


def test_messages_are_read_in_the_order_they_happened_though_frames_are_written_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encode = picture.encode

    def slow(frame: Frame) -> tuple[picture.Encoding, bytes]:
        time.sleep(0.02)
        return encode(frame)

    monkeypatch.setattr(picture, "encode", slow)
    one = recorder(tmp_path, segment_s=0.05)
    for number in range(12):
        one.frame(a_frame(number))
        one.publications([an_answer(number + 1)])()
        time.sleep(0.01)
    one.close()
    trial = Trial(one.folder)
    assert len(trial.files) > 1
    orders = [record.order for record in trial.records()]
    assert orders == list(range(1, 37))
    assert [sight.show.stamp.id for sight in trial.sights()] == list(range(12))
    assert check(one.folder).whole


def test_below_the_reserve_nothing_is_recorded_and_that_is_said(tmp_path: Path) -> None:
    one = Recorder(RecordConfig(folder=str(tmp_path), reserve_mb=1e9), {})
    one.publications([an_answer(1)])()
    assert "no old trial is left" in one.trouble
    assert one.lost == 1
    one.close()
    assert list(one.folder.iterdir()) == []


def test_the_oldest_trials_go_first_but_none_that_is_kept_or_recorded(tmp_path: Path) -> None:
    names = [f"2026010{day}T000000Z-abcd" for day in range(1, 6)]
    for name in names:
        (tmp_path / name).mkdir()
        (tmp_path / name / "0000.mcap").write_bytes(bytes(1000))
    (tmp_path / "notes").mkdir()
    (tmp_path / names[0] / KEEP).touch()
    shelf = Shelf(tmp_path, Policy(keep_days=1e6, keep_gb=2.5e-6, reserve_mb=0))
    mine = shelf.begin()
    assert Shelf(tmp_path, shelf.policy).expire() == names[1:4]
    assert [path.name for path in trials_in(tmp_path)] == [names[0], names[4], mine.name]
    assert (tmp_path / "notes").exists()
    shelf.close()


def test_trials_older_than_their_days_go(tmp_path: Path) -> None:
    for name in ("20260101T000000Z-abcd", "20260102T000000Z-abcd"):
        (tmp_path / name).mkdir()
    os.utime(tmp_path / "20260101T000000Z-abcd", (0, 0))
    shelf = Shelf(tmp_path, Policy(keep_days=1, keep_gb=1, reserve_mb=0))
    assert shelf.expire() == ["20260101T000000Z-abcd"]


def fill(folder: str, answers: int) -> None:
    """In a process of its own: its files may not grow beyond what it was allowed."""
    one = recorder(Path(folder))
    for seq in range(1, answers + 1):
        one.frame(a_frame(seq))
        one.publications([an_answer(seq)])()
    print(one.lost, one.trouble)
    one.close()


def limited(folder: Path, most_bytes: int, answers: int) -> str:
    """What `fill` says where no file may be larger than `most_bytes`."""
    code = (
        "import importlib.util, sys\n"
        "spec = importlib.util.spec_from_file_location('t', sys.argv[1])\n"
        "t = importlib.util.module_from_spec(spec); spec.loader.exec_module(t)\n"
        "t.fill(sys.argv[2], int(sys.argv[3]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, __file__, str(folder), str(answers)],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, most_bytes)),
    )
    return done.stdout


def test_a_file_that_cannot_grow_is_followed_by_another_and_no_answer_is_lost(
    tmp_path: Path,
) -> None:
    lost, _, trouble = limited(tmp_path, 120_000, 150).partition(" ")
    assert trouble.strip() == ""
    assert int(lost) < 20  # frames since the last sync of a file that was full
    (trial,) = trials_in(tmp_path)
    report = check(trial)
    assert len(report.files) > 1
    assert report.topics["/abstain"] == 150
    assert not any(file.harms for file in report.files)


def test_a_disk_that_is_full_costs_the_recording_alone(tmp_path: Path) -> None:
    lost, _, trouble = limited(tmp_path, 10_000, 5).partition(" ")
    assert int(lost) >= 5
    assert "cannot be written" in trouble
    (trial,) = trials_in(tmp_path)
    assert list(trial.iterdir()) == []
