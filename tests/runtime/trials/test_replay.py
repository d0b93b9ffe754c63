"""A trial of a real run, replayed: the same bytes each time, and what is missing is said."""

from __future__ import annotations

import shutil
import time
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest

from otter_robots.envelope import seal
from otter_robots.messages import Abstain
from otter_runtime.assembly import POCKET
from otter_runtime.brain import Settings
from otter_runtime.config import RecordConfig, RunConfig
from otter_runtime.errors import BundleError, TrialError
from otter_runtime.frame import Frame
from otter_runtime.replayed import Player
from otter_runtime.trials.about import config_file
from otter_runtime.trials.channels import ordered, told
from otter_runtime.trials.models import find, recorded_hash
from otter_runtime.trials.recorder import Recorder
from otter_runtime.trials.replay import Replay
from otter_runtime.trials.salvage import Salvage
from otter_runtime.trials.trial import Record, Trial
from otter_runtime.wire import Ask, Died, Ready


def played(path: Path, inputs: bool = False, bundle: Path | None = None) -> list[Record]:
    return list(Replay(Trial(path), bundle).records(inputs))


@pytest.fixture(scope="module")
def replayed(recorded: Path) -> list[Record]:
    return played(recorded)


def of(records: list[Record], topic: str) -> list[dict[str, Any]]:
    return [record.fields for record in records if record.topic == topic]


def test_the_same_trial_gives_the_same_bytes_twice(
    recorded: Path, replayed: list[Record], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "monotonic_ns", lambda: 0)  # another machine, at another time
    assert played(recorded) == replayed
    assert [record.order for record in replayed] == list(range(1, len(replayed) + 1))


def test_everything_that_was_asked_is_answered_again_from_frames_of_the_trial(
    recorded: Path,
) -> None:
    trial = Trial(recorded)
    replay = Replay(trial)
    records = list(replay.records())
    assert not replay.lacking
    assert replay.frames == len(list(trial.sights())) > 20
    asked = {one.fields["id"] for one in trial.records({"/order/ask"})}
    ends = of(records, "/event/said") + of(records, "/event/declined")
    assert Counter(one["id"] for one in ends) == Counter(asked)
    answers = of(records, "/answer")
    questions = {one["id"] for one in of(list(trial.records()), "/request/question")}
    assert {one["question_id"] for one in answers + of(records, "/abstain")} == {None, *questions}
    shown = {sight.show.stamp.id for sight in trial.sights()}
    for answer in answers:
        assert answer["origin"] == "replay"
        assert shown.issuperset(answer["frame_ids"])
        assert answer["model_hash"] == recorded_hash(trial)


def test_a_replay_with_what_came_in_is_a_trial_like_the_recorded_one(
    recorded: Path, replayed: list[Record]
) -> None:
    trial = list(Trial(recorded).records())
    whole = played(recorded, inputs=True)
    came_in = ("/request", "/order", "/camera", "/status", "/health")
    for records in (trial, whole):
        assert all(a.order < b.order for a, b in pairwise(records))
    mine = [(one.topic, one.mono_ns, one.data) for one in whole if one.topic.startswith(came_in)]
    theirs = [(one.topic, one.mono_ns, one.data) for one in trial if one.topic.startswith(came_in)]
    assert mine == theirs
    topics = {record.topic for record in replayed}
    assert [one.data for one in whole if one.topic in topics] == [one.data for one in replayed]


def test_frames_that_are_missing_are_said_and_the_others_are_seen(
    recorded: Path, replayed: list[Record], tmp_path: Path
) -> None:
    torn = tmp_path / recorded.name
    shutil.copytree(recorded, torn)
    file = torn / "0000.mcap"
    starts = [chunk.start for chunk in Salvage(file).chunks() if len(chunk.messages) < 20]
    data = bytearray(file.read_bytes())
    for start in starts[5:8]:
        data[start + 100] ^= 0xFF
    file.write_bytes(data)
    replay = Replay(Trial(torn))
    records = list(replay.records())
    assert replay.lacking
    assert replay.frames < len(of(replayed, "/event/shown"))
    assert 0 < len(of(records, "/event/said")) <= len(of(replayed, "/event/said"))


def test_the_model_is_found_by_its_hash_or_asked_for(
    recorded: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = Trial(recorded)
    assert find(trial, recorded_hash(trial)).samefile(POCKET)
    with pytest.raises(BundleError, match=r"ffff.*--bundle"):
        find(trial, "ffff")
    (ready,) = of(played(recorded, bundle=bundle), "/event/ready")
    assert ready["model"] == "random"


def test_a_brain_that_ended_knows_nothing_of_what_it_saw_before(
    bundle: Path, frame: Callable[..., Frame], tmp_path: Path
) -> None:
    """And what the front said by itself meanwhile stays as it was."""
    config = RunConfig(bundle=str(bundle), record=RecordConfig(folder=str(tmp_path), reserve_mb=0))
    recorder = Recorder(config.record, config_file(config), bundle)

    def write(topic: str, message: msgspec.Struct) -> None:
        recorder.message(topic, lambda: msgspec.json.encode(message))

    def live(first: int) -> None:
        """Two frames and a question about them."""
        write(told(Ready), up)
        for number in (first, first + 1):
            seen = frame(number)
            now = msgspec.structs.replace(seen.stamp, mono_ns=time.monotonic_ns())
            recorder.frame(Frame(now, seen.pixels))
        ask = Ask(id=str(first), text="Go?", question_id=f"q{first}", frames=2, frame_id=first + 1)
        write(ordered(Ask), ask)

    up = Player(Settings(bundle=str(bundle))).ready
    write(ordered(Ask), Ask(id="early", text="Where?"))
    live(1)
    write(told(Died), Died("killed"))
    down = Abstain(reason="brain-down", question_id="q2")
    recorder.publications([(seal(down, topic="answer", epoch="e", seq=2), down, True)])()
    live(3)
    recorder.close()
    records = list(Replay(Trial(recorder.folder)).records())
    said = {
        one["id"]: [stamp["id"] for stamp in one["stamps"]] for one in of(records, "/event/said")
    }
    assert said["1"] == [1, 2]
    assert said["3"] == [3, 4]
    assert said["early"] == [1]
    (abstain,) = of(records, "/abstain")
    assert (abstain["question_id"], abstain["origin"]) == ("q2", "replay")
    seqs = [one.fields["seq"] for one in records if one.topic in ("/answer", "/abstain")]
    assert seqs == [1, 2, 3, 4]


def test_a_trial_without_frames_is_refused(recorded: Path, tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    bare.mkdir()
    (bare / "0000.mcap").write_bytes((recorded / "0000.mcap").read_bytes())
    trial = Trial(bare)
    trial.attachments.pop("config.json")
    with pytest.raises(TrialError, match="run --record"):
        Replay(trial)
