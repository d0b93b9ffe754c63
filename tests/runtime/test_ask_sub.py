"""`otter-edge ask` and `sub` as a person runs them, against a publisher in another process."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from otter_robots.envelope import seal
from otter_robots.errors import UserError
from otter_robots.messages import Fault
from otter_runtime.commands import sub
from otter_runtime.keyring import make_folder

Publish = Callable[..., AbstractContextManager[Any]]


@pytest.fixture(scope="module")
def bound(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Endpoints of a running `bus_process.py`."""
    folder = tmp_path_factory.mktemp("bus")
    server = Path(__file__).with_name("bus_process.py")
    words = [f"ipc://{folder}/s", f"ipc://{folder}/r", str(folder / "j.db")]
    with subprocess.Popen(
        [sys.executable, str(server), *words], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())
        process.kill()


def otter(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "otter_runtime", *words], capture_output=True, text=True, timeout=60
    )


def test_ask(bound: dict[str, str]) -> None:
    done = otter("ask", "Where is the cup?", "--requests", bound["requests"])
    assert (done.returncode, done.stdout, done.stderr) == (0, "Where is the cup?\n", "")


def test_an_answer_cannot_move_the_cursor(bound: dict[str, str]) -> None:
    done = otter("ask", "one\x1b[2J\x9b2J\ntwo\u202e", "--requests", bound["requests"])
    assert (done.returncode, done.stdout) == (0, "one [2J 2J\ntwo \n")


def test_what_is_published_cannot_move_the_cursor() -> None:
    fault = Fault(code="camera", detail="gone\x1b[2J\r\nanswer 1  Go on.")
    envelope = seal(fault, topic="fault", epoch="1", seq=1)
    assert sub._line(envelope, fault).isprintable()


def test_ask_json(bound: dict[str, str]) -> None:
    done = otter("ask", "Where?", "--json", "--requests", bound["requests"])
    reply = json.loads(done.stdout)
    assert reply["schema"] == "Answer"
    assert reply["text"] == "Where?"
    assert reply["journalled"] is True
    assert {"epoch", "seq", "frame_ids", "age_ms", "ttl_ms", "model_hash", "topic"} <= reply.keys()


def test_the_folder_of_a_run_is_enough(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("run")
    server = Path(__file__).with_name("bus_process.py")
    words = [f"ipc://{folder}/stream", f"ipc://{folder}/requests", str(folder / "j.db")]
    command = [sys.executable, str(server), *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        asked = otter("ask", "Where?", "--folder", str(folder))
        heard = otter("sub", "--count", "1", "--timeout", "10", "--folder", str(folder))
        process.kill()
    assert (asked.returncode, asked.stdout) == (0, "Where?\n")
    assert (heard.returncode, len(heard.stdout.splitlines())) == (0, 1)


def test_ask_times_out(bound: dict[str, str]) -> None:
    done = otter("ask", "silence", "--timeout", "0.2", "--requests", bound["requests"])
    assert done.returncode == 2
    assert "was received but not answered within 0.2 s" in done.stderr
    assert done.stderr.count("\n") == 1


def test_sub_json(bound: dict[str, str]) -> None:
    words = ("sub", "--json", "--topic", "answer", "--count", "7", "--timeout", "10")
    done = otter(*words, "--stream", bound["stream"])
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0
    assert {row["topic"] for row in rows} == {"answer"}
    assert [row["seq"] - rows[0]["seq"] for row in rows] == list(range(7))


def test_sub_for_people(bound: dict[str, str]) -> None:
    done = otter("sub", "--count", "6", "--timeout", "10", "--stream", bound["stream"])
    assert done.returncode == 0
    assert "tick" in done.stdout
    assert "[frames 1-2, 1 ms old]" in done.stdout
    assert " health " in done.stdout


def test_sub_that_hears_too_little(tmp_path: Path) -> None:
    done = otter("sub", "--count", "1", "--timeout", "0.2", "--stream", f"ipc://{tmp_path}/s")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"otter-edge: listening at ipc://{tmp_path}/s\n"
        "otter-edge: heard 0 of 1 messages before 0.2 s of silence\n"
    )


def test_sub_ends_when_its_reader_leaves(bound: dict[str, str]) -> None:
    command = f"{sys.executable} -m otter_runtime sub --stream {bound['stream']} | head -n 2"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=30)
    assert len(done.stdout.splitlines()) == 2
    assert done.stderr == f"otter-edge: listening at {bound['stream']}\n"


def test_sub_since(bound: dict[str, str]) -> None:
    sockets = ("--stream", bound["stream"], "--requests", bound["requests"])
    words = ("sub", "--json", "--topic", "answer", *sockets, "--timeout", "10", "--count", "5")
    first = [json.loads(line) for line in otter(*words, "--since", "oldest").stdout.splitlines()]
    assert [row["seq"] for row in first] == [1, 2, 3, 4, 5]
    place = f"{first[2]['epoch']}:{first[2]['seq']}"
    again = [json.loads(line) for line in otter(*words, "--since", place).stdout.splitlines()]
    assert [row["seq"] for row in again] == [4, 5, 6, 7, 8]


@pytest.mark.parametrize("word", ["yesterday", "e:x", ":4", "e:99999999999999999999"])
def test_a_place_that_is_none(word: str) -> None:
    with pytest.raises(UserError, match="is no place; write oldest or EPOCH:SEQ"):
        sub._place(word)


def test_command(bound: dict[str, str]) -> None:
    words = ["command", "move", "x=1.5", "fast=true", "hand=left"]
    done = otter(*words, "--json", "--requests", bound["requests"])
    assert json.loads(done.stdout)["arguments"] == {"x": 1.5, "fast": True, "hand": "left"}
    heard = otter(
        "sub", "--topic", "command", "--since", "oldest", "--count", "1", "--timeout", "20",
        "--stream", bound["stream"], "--requests", bound["requests"], "--json",
    )  # fmt: skip
    assert json.loads(heard.stdout)["arguments"] == {"x": 1.5, "fast": True, "hand": "left"}
    assert otter("command", "stop", "--requests", bound["requests"]).returncode == 0
    wrong = otter("command", "move", "left", "--requests", bound["requests"])
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert "write NAME=VALUE" in wrong.stderr


def test_with_keys_over_tcp(publish: Publish, tmp_path: Path) -> None:
    ring = make_folder(tmp_path / "keys")
    eye, arm = ring.make("eye", "observe"), ring.make("arm", "command")
    with publish("--keys", str(ring.folder), endpoint="tcp://127.0.0.1:*") as running:
        where = ["--requests", running.requests]
        assert otter("ask", "Where?", *where, "--key", str(arm)).stdout == "Where?\n"
        assert otter("command", "stop", *where, "--key", str(arm)).returncode == 0
        refused = otter("ask", "Where?", *where, "--key", str(eye))
        assert refused.returncode == 2
        assert "needs a key that may ask" in refused.stderr
        heard = otter(
            "sub", "--topic", "answer", "--count", "1", "--timeout", "20",
            "--stream", running.stream, *where, "--key", str(eye),
        )  # fmt: skip
        assert heard.returncode == 0, heard.stderr
    arm.chmod(0o644)
    open_to_all = otter("ask", "Where?", "--key", str(arm))
    assert open_to_all.returncode == 2
    assert "chmod 600" in open_to_all.stderr
