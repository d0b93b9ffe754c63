"""Real processes: `otter-edge run` with its brain, and this one, which only subscribes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import psutil
import pytest
from tests.runtime.run_process import LIMIT_S, Start, noisy

from otter_robots.guard import Guard, Refused
from otter_robots.messages import Abstain, Answer, Fault, Status
from otter_robots.skill import CANT_SEE, NO_ACTION
from otter_robots.skills import Range, Registry, skill
from otter_runtime.bundle import Bundle
from otter_runtime.journal import Journal

PLAN = "What should I do next?"
TURNS = Range(low=5, high=90, step=5)


def test_a_subscriber_hears_every_answer_in_order(
    start: Start, folder: Path, bundle: Path, tmp_path: Path
) -> None:
    clips = [noisy(tmp_path / "one.avi", 12), noisy(tmp_path / "two.avi", 9)]
    words = ["--source", *map(str, clips), "--instruction", "one?", "--instruction", "two?"]
    run = start(*words, "--fast")
    assert run.end().detail == "the source is played out"
    assert run.process.wait(LIMIT_S) == 0
    answers: list[Answer] = run.of(Answer)
    # Once a second of the source's time, and afresh with each clip.
    assert [answer.frame_ids for answer in answers] == [
        (0,),
        (1, 2, 3, 4),
        (5, 6, 7, 8),
        (12,),
        (13, 14, 15, 16),
        (17, 18, 19, 20),
    ]
    assert [(answer.source, answer.source_index) for answer in answers] == [
        *(("one.avi", index) for index in (0, 4, 8)),
        *(("two.avi", index) for index in (0, 4, 8)),
    ]
    assert [answer.instruction for answer in answers] == ["one?"] * 3 + ["two?"] * 3
    assert {answer.model_hash for answer in answers} == {Bundle.load(bundle).model_hash}
    assert all(answer.journalled and not answer.late for answer in answers)
    assert all(0 <= answer.age_ms < answer.ttl_ms for answer in answers)
    assert all(answer.captured_wall_ns > 0 and answer.confidence for answer in answers)
    assert [status.state for status in run.of(Status)][-3:] == ["running", "running", "ended"]
    seqs = [envelope.seq for envelope, message in run.heard if isinstance(message, Answer)]
    assert seqs == [1, 2, 3, 4, 5, 6]
    journal = Journal(folder / "journal.sqlite")
    assert len(list(journal.after("answer"))) == 6
    journal.close()
    again = start(*words, "--fast")
    again.end()
    assert [answer.text for answer in again.of(Answer)] == [answer.text for answer in answers]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_cleanly_and_says_so(
    start: Start, tmp_path: Path, number: signal.Signals
) -> None:
    run = start("--source", str(noisy(tmp_path / "long.avi", 400)), "--instruction", PLAN)
    run.answer()
    brain = run.brain
    run.process.send_signal(number)
    assert run.end().detail == "interrupted"
    assert run.process.wait(LIMIT_S) == 0
    assert not brain.is_running()


def test_a_question_is_answered_beside_the_instruction(start: Start, tmp_path: Path) -> None:
    run = start(
        *("--source", str(noisy(tmp_path / "long.avi", 400, 20.0)), "--instruction", PLAN),
        *("--interval", "0.1"),
    )
    run.answer()
    reply = run.client.ask("Where is the red box?", LIMIT_S)
    assert isinstance(reply, Answer)
    assert reply.text
    assert reply.instruction is None
    assert reply.timing["first_token_ms"] < reply.timing["total_ms"]
    published = run.until(
        lambda message: isinstance(message, Answer) and message.question_id is not None
    )
    assert published.question_id == reply.question_id
    run.client.instruct("And now?", 0.2)
    run.until(lambda message: isinstance(message, Answer) and message.instruction == "And now?")
    hurried = run.client.ask("Tell me everything.", LIMIT_S, deadline_ms=2)
    assert isinstance(hurried, Abstain) or hurried.partial or not hurried.late
    too_long = run.client.ask("x" * 300, LIMIT_S)
    assert isinstance(too_long, Abstain)
    assert too_long.reason == "prompt"


class Walker:
    """A robot whose guard decides."""

    def __init__(self) -> None:
        self.did: list[tuple[str, float]] = []

    @skill("Turn {side} by {degrees} degrees.", side=("left", "right"), degrees=TURNS)
    def turn(self, side: str, degrees: float) -> None:
        self.did.append((side, degrees))

    @skill("Wait for me.")
    def wait(self) -> None:
        self.did.append(("wait", 0))


def test_a_robot_asks_among_its_skills_and_its_guard_lets_the_choice_through(
    start: Start, tmp_path: Path
) -> None:
    run = start("--source", str(noisy(tmp_path / "long.avi", 400)), "--instruction", PLAN)
    run.answer()
    walker = Walker()
    registry = Registry.of(walker)
    # The machine may be slow; that old answers are refused is the guard's own test.
    guard = Guard(registry, silent_s=None)
    envelope, reply = run.client.ask_sealed(PLAN, LIMIT_S, skills=registry)
    assert isinstance(reply, Answer)
    assert sum(choice.probability for choice in reply.choices) == pytest.approx(1)
    assert {choice.skill for choice in reply.choices} == {"turn", "wait", NO_ACTION, CANT_SEE}
    assert len(reply.choices) == 2 + 1 + 2  # a choice for each side, its number decoded
    try:
        step = guard.check(envelope, reply)
    except Refused as why:
        assert why.reason in ("late", "old")  # noqa: PT017
    else:
        guard.perform(step)
        assert len(walker.did) == step.acts
        assert step.text == reply.text
    decoded = run.client.ask(PLAN, LIMIT_S, skills=registry.offer(rank=False))
    assert isinstance(decoded, Answer)
    assert registry.declared.parse(decoded.text) is not None
    assert len(decoded.choices) == 1


def test_the_brain_does_not_outlive_the_front(start: Start, tmp_path: Path) -> None:
    run = start("--source", str(noisy(tmp_path / "long.avi", 400)), "--instruction", PLAN)
    run.answer()
    brain = run.brain
    run.process.kill()
    psutil.wait_procs([brain], timeout=LIMIT_S)
    assert not brain.is_running() or brain.status() == psutil.STATUS_ZOMBIE


def test_nothing_is_said_about_a_black_picture(
    start: Start, tmp_path: Path, video: Callable[..., Path]
) -> None:
    black = tmp_path / "black"
    black.mkdir()
    for index in range(30):
        cv2.imwrite(str(black / f"{index:02}.png"), np.zeros((64, 64, 3), np.uint8))
    config = tmp_path / "run.yaml"
    config.write_text("folder_hz: 10\n")
    run = start("--source", str(black), "--instruction", PLAN, "--config", str(config))
    run.until(lambda message: isinstance(message, Fault) and message.code == "camera-black")
    reply = run.client.ask("What do you see?", LIMIT_S)
    assert isinstance(reply, Abstain)
    assert reply.reason == "camera-black"
    run.end()
    assert run.of(Answer) == []


def test_the_demo_judges_what_it_hears(bundle: Path, tmp_path: Path) -> None:
    noisy(tmp_path / "episode-0.avi", 12)
    truth = '{"action": "turn left", "answer": "Turn left: it is there.", "clear": true}'
    (tmp_path / "labels.json").write_text(
        '{"clips": [{"file": "episode-0.avi", "rate_hz": 4, "instruction": "Go?", '
        f'"frames": [{", ".join([truth] * 12)}]}}]}}'
    )
    words = ["--clip", str(tmp_path), "--bundle", str(bundle), "--picture", str(tmp_path / "p.png")]
    done = otter_edge("demo", *words, "--fast", "--json", "--interval", "0.5")
    *rows, last = map(json.loads, done.stdout.splitlines())
    assert [row["source_index"] for row in rows] == [0, 2, 4, 6, 8, 10]
    assert all(row["right"] == "turn left" and row["frame_ids"] for row in rows)
    assert last["summary"]["answers"] == 6
    assert last["summary"]["correct"] == sum(row["correct"] for row in rows)
    assert last["summary"]["age_ms"]["p99"] > 0
    assert done.returncode == 1  # random weights are not right
    picture = cv2.imread(str(tmp_path / "p.png"))
    assert picture is not None
    assert picture.shape[1] > 500


# What a user can get wrong: one sentence, exit code 2, no traceback.


def otter_edge(*words: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "otter_runtime", *words],
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_brain_that_never_comes_up_ends_the_run(bundle: Path, tmp_path: Path) -> None:
    dying = "import os, sys\nif 'otter_runtime.brain' in sys.orig_argv: os._exit(3)\n"
    (tmp_path / "sitecustomize.py").write_text(dying)
    picture = tmp_path / "frame.png"
    cv2.imwrite(str(picture), np.full((8, 8, 3), 90, np.uint8))
    words = ["run", "--source", str(picture), "--bundle", str(bundle), "--folder", str(tmp_path)]
    done = otter_edge(*words, env={**os.environ, "PYTHONPATH": str(tmp_path)})
    assert done.returncode == 1
    *_, sentence = done.stderr.strip().splitlines()
    assert sentence.startswith("otter-edge: no brain came up in 3 tries (the brain ended with")
    assert "Traceback" not in done.stderr


def refused(*words: str) -> str:
    done = otter_edge("run", *words)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    *_, sentence = done.stderr.strip().splitlines()
    assert sentence.startswith("otter-edge: ")
    return sentence


def test_bad_sources_are_refused(folder: Path, bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    place = ["--folder", str(folder), "--bundle", str(bundle)]
    assert "there is no" in refused("--source", str(tmp_path / "missing.mp4"), *place)
    assert "not a video" in refused("--source", str(tmp_path / "notes.txt"), *place)
    assert "no camera 77" in refused("--source", "77", *place)
    assert "there is no source" in refused(*place)


def test_an_unknown_name_in_the_configuration_is_refused(tmp_path: Path) -> None:
    config = tmp_path / "run.yaml"
    config.write_text("window:\n  frame: 4\n")
    assert "window.frame; did you mean window.frames" in refused("--config", str(config))


def test_a_changed_bundle_is_refused_and_the_end_is_published(
    start: Start, folder: Path, bundle: Path, tmp_path: Path, video: Callable[..., Path]
) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    for file in bundle.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    weights = bytearray((copy / "decoder.bin").read_bytes())
    weights[1000] ^= 1
    (copy / "decoder.bin").write_bytes(weights)
    words = ["--source", str(video()), "--folder", str(folder), "--bundle", str(copy)]
    assert "decoder.bin does not match" in refused(*words)
    journal = Journal(folder / "journal.sqlite")
    assert len(list(journal.after("status"))) == 2  # starting, ended
    journal.close()


def test_an_endpoint_in_use_is_refused(
    start: Start, folder: Path, bundle: Path, tmp_path: Path
) -> None:
    clip = str(noisy(tmp_path / "long.avi", 400))
    run = start("--source", clip, "--instruction", PLAN)
    run.answer()
    words = ["--source", clip, "--folder", str(folder), "--bundle", str(bundle)]
    assert "in use" in refused(*words)
    run.answer()
    assert os.path.exists(folder / "stream")
