"""`otter-edge replay` as people run it: told again on a bus, recomputed, asked something new."""

from __future__ import annotations

import io
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from otter_robots import endpoints
from otter_robots.adapters.asker import Asker, asking
from otter_robots.adapters.ear import Ear
from otter_robots.adapters.entry import Events
from otter_robots.client import Client
from otter_robots.guard import Guard, Refused
from otter_robots.messages import Answer, Health, Status
from otter_robots.skills import Declaration, Registry, Skills
from otter_robots.topics import TOPICS
from otter_runtime.trials.channels import PUBLISHED
from otter_runtime.trials.check import check
from otter_runtime.trials.moment import moment
from otter_runtime.trials.replay import Replay
from otter_runtime.trials.trial import Trial

LIMIT_S = 120.0


@pytest.fixture
def folder() -> Iterator[Path]:
    # Short, because a socket's path may have 107 bytes.
    with tempfile.TemporaryDirectory(prefix="otter-") as name:
        yield Path(name)


def replaying(trial: Path, *words: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "otter_runtime", "replay", str(trial), *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def replayed(trial: Path, *words: str) -> tuple[int, str, str]:
    process = replaying(trial, *words)
    out, err = process.communicate(timeout=LIMIT_S)
    return process.returncode, out, err


def client(folder: Path) -> Client:
    return Client(endpoints.stream_endpoint(folder), endpoints.requests_endpoint(folder), "test")


def registry() -> Registry:
    return Registry(Skills(skills={"go_home": Declaration(say="Fly home.")}), {"go_home": list})


def lines(out: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.splitlines()]


def test_told_again_it_is_what_it_was_and_no_robot_acts_on_it(recorded: Path, folder: Path) -> None:
    guard, refused = Guard(registry()), 0
    told_robots = io.StringIO()
    with client(folder) as bus, client(folder) as robot, client(folder) as deceived:
        bus.subscribe(topic.replayed for topic in TOPICS.values())
        asker = Asker(lambda: client(folder), asking(1.0, guard))
        ear = Ear(robot, asker, guard, Events(True, told_robots))
        fooled = Ear(deceived, asker, guard, Events(True, told_robots))
        deceived.subscribe(topic.replayed for topic in TOPICS.values())
        process = replaying(
            recorded, "--speed", "5", "--wait", "60", "--folder", str(folder), "--json"
        )
        heard: list[dict[str, Any]] = []
        until_s = time.monotonic() + LIMIT_S
        while time.monotonic() < until_s:
            assert ear.listen(0.0) == fooled.listen(0.0) == []
            item = bus.receive(0.05)
            if item is None:
                continue
            envelope, message = item
            assert envelope.origin == "replay"
            heard.append({"topic": envelope.topic, "seq": envelope.seq})
            guard.hear(envelope, message)
            if isinstance(message, Answer):
                with pytest.raises(Refused, match="heartbeat"):  # a replay is no sign of life
                    guard.check(envelope, message)
                refused += 1
            if isinstance(message, Status) and message.state == "ended":
                break
        out, _ = process.communicate(timeout=LIMIT_S)
        assert process.returncode == 0
        assert robot.hostile == bus.hostile == 0
        asker.close()
    told = [
        {name: value for name, value in line.items() if name not in ("epoch", "origin")}
        for line in lines(out)
    ]
    was = [
        {name: value for name, value in record.fields.items() if name not in ("epoch", "origin")}
        for record in Trial(recorded).records(PUBLISHED)
    ]
    assert told == was
    assert refused > 3
    refusals = lines(told_robots.getvalue())
    assert len(refusals) > 3
    assert {one["why"] for one in refusals} == {"it is from a recording"}
    assert heard[-1] == {"topic": was[-1]["topic"], "seq": was[-1]["seq"]}


def test_a_guard_that_heard_a_heartbeat_still_refuses_a_recording(recorded: Path) -> None:
    from otter_runtime.trials.channels import opened

    guard = Guard(registry(), silent_s=None)
    records = list(Trial(recorded).records(PUBLISHED))
    for record in records:
        envelope, message = opened(record.data)
        if isinstance(message, Health):
            guard.hear(envelope, message)
    answers = [record for record in Replay(Trial(recorded)).records() if record.topic == "/answer"]
    envelope, message = opened(answers[-1].data)
    assert isinstance(message, Answer)
    with pytest.raises(Refused, match="recording"):
        guard.check(envelope, message)


def test_it_begins_and_ends_where_it_is_told_to_and_at_a_signal(
    recorded: Path, folder: Path
) -> None:
    code, out, err = replayed(
        recorded, "--from", "1", "--to", "2.5", "--speed", "100", "--json", "--folder", str(folder)
    )
    assert code == 0, err
    trial = Trial(recorded)
    begin, end = trial.begun_ns + 10**9, trial.begun_ns + 25 * 10**8
    inside = [r for r in trial.records(PUBLISHED) if begin <= r.log_ns <= end]
    assert [(one["topic"], one["seq"]) for one in lines(out)] == [
        (one.fields["topic"], one.fields["seq"]) for one in inside
    ]
    assert inside
    slow = replaying(recorded, "--speed", "0.001", "--json", "--folder", str(folder))
    assert slow.stdout is not None
    assert slow.stdout.readline()
    slow.send_signal(signal.SIGTERM)
    slow.communicate(timeout=LIMIT_S)
    assert slow.returncode == 0


def test_recomputed_it_prints_the_same_each_time_and_a_trial_holds_it(
    recorded: Path, tmp_path: Path
) -> None:
    code, out, err = replayed(recorded, "--recompute", "--json")
    assert code == 0, err
    written = tmp_path / "again"
    code, _, err = replayed(recorded, "--recompute", "-o", str(written))
    assert code == 0, err
    assert check(written).whole
    trial = Trial(written)
    assert trial.metadata["replay"]["trial"] == recorded.name
    assert [one.fields for one in trial.records({"/answer", "/abstain", "/delta"})] == lines(out)
    assert len(list(trial.sights())) == len(list(Trial(recorded).sights()))
    twice = [(one.topic, one.data) for one in Replay(trial).records()]
    assert twice == [(one.topic, one.data) for one in Replay(Trial(recorded)).records()]
    code, _, err = replayed(recorded, "--recompute", "-o", str(written))
    assert code == 2
    assert "not empty" in err


def test_of_the_frames_that_were_seen_the_same_model_says_the_same(recorded: Path) -> None:
    trial = Trial(recorded)
    was = {one.fields["id"]: one.fields for one in trial.records({"/event/said"})}
    replay = Replay(trial, seen=True)
    now = {r.fields["id"]: r.fields for r in replay.records() if r.topic == "/event/said"}
    assert now.keys() == was.keys()
    assert not replay.lacking
    for name, said in was.items():
        assert now[name]["stamps"] == said["stamps"]
        assert said["partial"] or now[name]["text"] == said["text"]
        assert said["partial"] or now[name]["confidence"] == pytest.approx(said["confidence"])


def test_a_question_that_nobody_asked_is_answered_from_the_frames_of_its_moment(
    recorded: Path,
) -> None:
    trial = Trial(recorded)
    shown = list(trial.sights())
    at_s = (shown[9].record.log_ns - trial.begun_ns) / 1e9 + 0.01
    words = ("--ask", "Where is the red box?", "--at", f"{at_s:.3f}", "--json")
    code, out, err = replayed(recorded, *words)
    assert code == 0, err
    (reply,) = lines(out)
    assert reply["text"]
    assert 1 <= len(reply["frames"]) <= 4
    assert all(frame["seconds"] <= at_s for frame in reply["frames"])
    before = {sight.show.stamp.id for sight in shown[:10]}
    assert before.issuperset(reply["frame_ids"])
    assert replayed(recorded, *words)[1] == out


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--ask", "Where?", "--at", "0"), "ask later"),
        (("--at", "3"), "add --ask"),
        (("--output", "x"), "add --recompute"),
        (("--recompute", "--from", "noon"), "no moment"),
        (("--recompute", "--bundle", "/nowhere"), "/nowhere"),
        (("--stream", "tcp://0.0.0.0:5555"), "0.0.0.0"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(
    recorded: Path, words: tuple[str, ...], sentence: str
) -> None:
    code, _, err = replayed(recorded, *words)
    assert code == 2
    assert sentence in err
    assert "Traceback" not in err


def test_moments_are_seconds_or_times_of_day(recorded: Path) -> None:
    trial = Trial(recorded)
    assert moment("1.5", trial) == trial.begun_ns + 1_500_000_000
    clock = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(trial.begun_ns // 10**9 + 3))
    assert moment(clock, trial) == (trial.begun_ns // 10**9 + 3) * 10**9
    assert moment(f"{clock}Z", trial) == moment(clock[11:], trial) == moment(clock, trial)
