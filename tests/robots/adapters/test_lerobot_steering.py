"""What a policy is told, over the real bus, and when the session ends."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from otter_robots.adapters.lerobot.steering import Steering

TASKS = {
    "skills": {
        "cup": {"say": "Put the cup in the sink."},
        "plate": {"say": "Put the plate in the rack."},
    }
}


def test_the_task_comes_before_the_start_and_only_when_it_changes() -> None:
    steering = Steering()
    told = [line for task in ["a", "a", "b", "a"] for line in steering.follow(task)]
    assert told == ["/subtask a", "/start", "/subtask b", "/subtask a"]
    assert [steering.stop(), steering.stop(), steering.follow("c")] == [["/stop"], [], []]


def test_one_opinion_is_not_enough_where_two_have_to_agree() -> None:
    steering = Steering(agree=2)
    told = [steering.follow(task) for task in ["a", "b", "a", "a", "b", "a", "b", "b"]]
    assert [lines for lines in told if lines] == [["/subtask a", "/start"], ["/subtask b"]]
    assert told[3]
    assert told[7]


@pytest.fixture
def tasks(tmp_path: Path) -> Path:
    path = tmp_path / "tasks.json"
    path.write_text(json.dumps(TASKS))
    return path


def conduct(start: Any, tmp_path: Path, tasks: Path, *words: str) -> Any:
    process = start(
        *("-m", "otter_robots.adapters.lerobot", "--json", "--folder", str(tmp_path)),
        *("--skills", str(tasks), *words),
    )
    process.wait(lambda event: event["event"] == "started")
    return process


def commands(process: Any) -> list[str]:
    """What left on standard output: the lines that are no events."""
    return [line.strip() for line in process.other]


def hears(runtime: Any, process: Any) -> None:
    """Wait until it hears the runtime: what was said before it was connected is gone."""
    until_s = time.monotonic() + 60
    while not any("unknown-skill" in str(one.get("why")) for one in process.events):
        assert time.monotonic() < until_s, process.told()
        runtime.tell(answer="Sing a song.")
        time.sleep(0.2)


def test_answers_among_the_tasks_become_commands_and_a_silent_runtime_ends_it(
    start: Any, runtime: Any, tmp_path: Path, tasks: Path
) -> None:
    process = conduct(start, tmp_path, tasks)
    hears(runtime, process)
    runtime.tell(answer="Put the plate in the rack.", origin="replay")
    for _ in range(3):
        runtime.tell(answer="Put the cup in the sink.")
    runtime.tell(answer="Put the plate in the rack.")
    process.wait(lambda event: event.get("line") == "/subtask Put the plate in the rack.")
    runtime.tell(silent=True)
    process.wait(lambda event: event.get("line") == "/stop")
    assert process.child.wait(60) == 0
    process._reader.join(60)
    assert commands(process) == [
        "/subtask Put the cup in the sink.",
        "/start",
        "/subtask Put the plate in the rack.",
        "/stop",
    ]


def test_a_goal_is_asked_and_a_dry_run_commands_nothing(
    start: Any, runtime: Any, tmp_path: Path, tasks: Path
) -> None:
    goal = "Clear the table. What should I do next?"
    process = conduct(start, tmp_path, tasks, "--goal", goal, "--dry-run")
    asked = runtime.wait(lambda event: event.get("type") == "Question")
    assert asked["text"] == goal
    assert [skill["name"] for skill in asked["skills"]["skills"]] == ["cup", "plate"]
    hears(runtime, process)
    runtime.tell(answer="Put the cup in the sink.")
    process.wait(lambda event: event == {"event": "would say", "line": "/start"})
    assert process.end() == 0
    assert commands(process) == []
