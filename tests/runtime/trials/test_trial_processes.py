"""Real runs that are recorded: the trial has what was published, also after SIGKILL. In full:

pytest -m slow tests/runtime/trials/test_trial_processes.py
"""

from __future__ import annotations

import contextlib
import json
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from mcap.reader import make_reader

import otter_runtime
from otter_robots import endpoints
from otter_robots.client import Client
from otter_robots.envelope import Envelope, as_dict
from otter_robots.messages import Abstain, Answer, Fault, Message, Status
from otter_robots.topics import ANSWER, COMMAND, FAULT, STATUS
from otter_runtime.trials.channels import published
from otter_runtime.trials.check import check
from otter_runtime.trials.shelf import trials_in
from otter_runtime.trials.trial import Trial

CLIPS = sorted((Path(otter_runtime.__file__).parent / "pocket" / "clip").glob("*.avi"))
PLAN = "What should I do next?"
LIMIT_S = 120.0
Heard = list[tuple[Envelope, Message]]


@pytest.fixture
def folder() -> Iterator[Path]:
    # Short, because a socket's path may have 107 bytes.
    with tempfile.TemporaryDirectory(prefix="otter-") as name:
        yield Path(name)


def otter_edge(*words: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "otter_runtime", *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


@contextlib.contextmanager
def running(
    folder: Path, clips: list[Path], *words: str, pace: str = "--fast"
) -> Iterator[subprocess.Popen[bytes]]:
    """A recorded run as quick as it can be, or at `--speed=X`; its bus is in `folder`."""
    process = otter_edge(
        "run", "--source", *map(str, clips), "--instruction", PLAN, pace, "--threads", "1",
        "--wait", "60", "--folder", str(folder), "--record", str(folder / "trials"), *words,
    )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def listener(folder: Path) -> Client:
    return Client(endpoints.stream_endpoint(folder), endpoints.requests_endpoint(folder), "test")


def heard_until_the_end(bus: Client, limit_s: float = LIMIT_S) -> Heard:
    heard: Heard = []
    until_s = time.monotonic() + limit_s
    while time.monotonic() < until_s:
        item = bus.receive(0.5)
        heard += [item] if item else []
        if item and isinstance(item[1], Status) and item[1].state == "ended":
            return heard
    raise AssertionError(f"no end within {limit_s} s")


def said(heard: Heard) -> dict[tuple[str, int], dict[str, Any]]:
    """What was heard as JSON has it, by topic and seq."""
    return {
        (envelope.topic, envelope.seq): msgspec.json.decode(
            msgspec.json.encode(as_dict(envelope, message))
        )
        for envelope, message in heard
    }


def of_the_bus(trial: Trial) -> dict[tuple[str, int], dict[str, Any]]:
    """What a trial has of what was published, by topic and seq."""
    found = {}
    for record in trial.records():
        if record.topic.count("/") == 1 and record.topic != "/camera":
            found[record.fields["topic"], record.fields["seq"]] = record.fields
    return found


def test_what_was_published_is_recorded_by_the_run_and_by_another_process(folder: Path) -> None:
    with listener(folder) as bus:
        bus.subscribe()
        with running(folder, CLIPS[:2]) as run:
            beside = otter_edge("record", str(folder / "beside"), "--folder", str(folder), "--all")
            heard = heard_until_the_end(bus)
            assert run.wait(LIMIT_S) == 0
        time.sleep(2.0)
        beside.terminate()
        assert beside.wait(LIMIT_S) == 0
    (path,) = trials_in(folder / "trials")
    ours = said(heard)
    assert len(ours) == len(heard)
    recorded = of_the_bus(Trial(path))
    # The first messages were published before anybody could have subscribed.
    assert {key: recorded[key] for key in ours} == ours
    counts = Counter(topic for topic, _ in recorded)
    highest = {topic: max(seq for t, seq in recorded if t == topic) for topic in counts}
    assert counts == highest
    assert counts["answer"] > 10
    seen = mcap_topics(path)
    assert seen["/answer"] == counts["answer"]
    frames = [sight.frame() for sight in Trial(path).sights()]
    assert len(frames) == seen["/camera"] == seen["/event/shown"]
    shown = {frame.stamp.id for frame in frames}
    answers = [message for _, message in heard if isinstance(message, Answer)]
    assert all(shown.issuperset(answer.frame_ids) for answer in answers)
    _the_other_process_has_all_that_is_journalled(folder, recorded)


def _the_other_process_has_all_that_is_journalled(
    folder: Path, recorded: dict[tuple[str, int], dict[str, Any]]
) -> None:
    (path,) = trials_in(folder / "beside")
    beside = of_the_bus(Trial(path))
    for topic in (ANSWER, STATUS, FAULT, COMMAND):
        mine = {key: value for key, value in recorded.items() if key[0] == topic.name}
        assert {key: value for key, value in beside.items() if key[0] == topic.name} == mine


def killed(folder: Path, dice: random.Random) -> tuple[Heard, Path]:
    """A run killed some moment after its first answer: what was heard of it, and its trial."""
    with listener(folder) as bus:
        bus.subscribe([ANSWER, FAULT])
        heard: Heard = []
        with running(folder, CLIPS * 8) as run:
            until_s = time.monotonic() + LIMIT_S
            while not heard and time.monotonic() < until_s:
                item = bus.receive(0.2)
                heard += [item] if item else []
            time.sleep(dice.uniform(0.0, 1.5))
            run.kill()
            run.wait()
        while item := bus.receive(0.3):
            heard.append(item)
    return heard, trials_in(folder / "trials")[-1]


def check_a_kill(folder: Path, dice: random.Random, number: int) -> int:
    """How many messages were heard; all of them are in the repaired trial."""
    heard, trial = killed(folder, dice)
    assert any(isinstance(message, (Answer, Abstain, Fault)) for _, message in heard)
    mended = folder / f"mended-{number}"
    done = subprocess.run(
        [sys.executable, "-m", "otter_runtime", "trial", "repair", trial, "-o", mended, "--json"],
        capture_output=True,
        text=True,
        check=True,
    )
    report = json.loads(done.stdout)["after"]
    assert all(file["finished"] and not file["harms"] for file in report["files"])
    recorded = of_the_bus(Trial(mended))
    for key, value in said(heard).items():
        assert recorded[key] == value
    assert all(published(type(message)) in report["topics"] for _, message in heard)
    return len(heard)


def test_killed_at_any_moment_the_repaired_trial_has_every_published_answer(folder: Path) -> None:
    dice = random.Random(1)
    assert sum(check_a_kill(folder, dice, number) for number in range(3)) > 3


@pytest.mark.slow
def test_killed_fifty_times_the_repaired_trial_has_every_published_answer(folder: Path) -> None:
    dice = random.Random(2)
    assert sum(check_a_kill(folder, dice, number) for number in range(50)) > 100


@pytest.mark.slow
def test_ten_minutes_in_real_time_are_recorded_as_they_were_published(folder: Path) -> None:
    """By topic, whatever the machine does meanwhile: `pytest -m slow -k ten_minutes -s`."""
    with listener(folder) as bus:
        bus.subscribe()
        with running(folder, CLIPS * 15, pace="--speed=1") as run:
            heard = heard_until_the_end(bus, limit_s=1200.0)
            assert run.wait(LIMIT_S) == 0
    (path,) = trials_in(folder / "trials")
    ours, recorded, report = said(heard), of_the_bus(Trial(path)), check(path)
    assert {key: recorded[key] for key in ours} == ours
    published_ = {topic: max(seq for t, seq in ours if t == topic) for topic, _ in ours}
    assert Counter(topic for topic, _ in recorded) == published_
    assert report.whole
    assert not report.unseen
    assert report.seconds > 600
    assert len(report.files) >= 10
    assert mcap_topics(path) == report.topics
    print(json.dumps({"seconds": report.seconds, "published": published_, "in": report.topics}))


def mcap_topics(path: Path) -> dict[str, int]:
    """Messages by topic, as any reader of MCAP counts them, every CRC being right."""
    seen: Counter[str] = Counter()
    for file in sorted(path.glob("*.mcap")):
        with file.open("rb") as stream:
            for _, channel, _ in make_reader(stream, validate_crcs=True).iter_messages():
                seen[channel.topic] += 1
    return dict(seen)


@pytest.fixture
def small_disk(folder: Path) -> Iterator[Path]:
    """A disk of 12 MB for the trials; skips where none may be mounted."""
    trials = folder / "trials"
    trials.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", str(trials)]
    done = subprocess.run(mount, capture_output=True, check=False)
    if done.returncode:
        pytest.skip("no tmpfs may be mounted here")
    yield trials
    subprocess.run(["umount", str(trials)], check=True)


def test_on_a_full_disk_answers_go_on_and_old_trials_went_first(
    folder: Path, small_disk: Path
) -> None:
    old = small_disk / "20260101T000000Z-abcd"
    old.mkdir()
    (old / "0000.mcap").write_bytes(bytes(4_000_000))
    config = folder / "small.yaml"
    config.write_text("record: {reserve_mb: 2, segment_s: 5}\n")
    with listener(folder) as bus:
        bus.subscribe()
        with running(folder, CLIPS * 2, "--config", str(config)) as run:
            heard = heard_until_the_end(bus)
            assert run.wait(LIMIT_S) == 0
    answers = [message for _, message in heard if isinstance(message, Answer)]
    faults = [message for _, message in heard if isinstance(message, Fault)]
    assert len(answers) > 60
    assert [fault.code for fault in faults if not fault.cleared] == ["record"]
    assert not old.exists()
    (path,) = trials_in(small_disk)
    recorded = of_the_bus(Trial(path))
    ours = said(heard)
    assert len(recorded) > 20
    assert all(recorded[key] == ours[key] for key in recorded.keys() & ours.keys())
