"""`otter-edge voice --text` as a process beside a real run: everything but the sound."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from tests.runtime.audio.spoken import needs_espeak, needs_sphinx
from tests.runtime.run_process import LIMIT_S, Start, noisy

from otter_robots.messages import Abstain, Answer, Command, Status
from otter_runtime.audio.attendant import NO_ANSWER, wording

VOICE = [sys.executable, "-m", "otter_runtime", "voice"]


def voice(
    *words: str, said: str = "", env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*VOICE, *words],
        input=said,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        env={**os.environ, **(env or {})},
        check=False,
    )


def events(done: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_what_is_typed_is_asked_and_answered(start: Start, folder: Path, tmp_path: Path) -> None:
    run = start("--source", str(noisy(tmp_path / "long.avi", 400, 20.0)))
    run.until(lambda message: isinstance(message, Status) and message.state == "running")
    done = events(
        voice("--text", "--json", "--folder", str(folder), said="Where is the red box?\n")
    )
    answer = run.until(lambda message: isinstance(message, Answer))
    assert [one["event"] for one in done] == ["heard", "asked", "answered", "said", "listening"]
    assert done[1]["question"] == "Where is the red box?"
    assert done[2]["text"] == answer.text
    assert done[3]["text"] == (answer.text if answer.text.strip() else NO_ANSWER)


def test_an_order_waits_for_a_yes_and_a_stop_does_not(
    start: Start, folder: Path, tmp_path: Path
) -> None:
    phrases = tmp_path / "phrases.yaml"
    phrases.write_text("phrases: [{say: go home, command: home, arguments: {speed: 0.5}}]\n")
    run = start("--source", str(noisy(tmp_path / "long.avi", 400, 20.0)))
    run.until(lambda message: isinstance(message, Status) and message.state == "running")
    words = ("--text", "--json", "--folder", str(folder), "--phrases", str(phrases))
    refused = events(voice(*words, said="go home\nno\n"))
    assert "ordered" not in [one["event"] for one in refused]
    done = events(voice(*words, said="go home\nwhat?\nyes\nyes\ngo home\nstop\nyes\n"))
    ordered = [one["command"] for one in done if one["event"] == "ordered"]
    assert ordered == ["home", "stop"]
    home = run.until(lambda message: isinstance(message, Command))
    assert (home.name, home.arguments) == ("home", {"speed": 0.5})
    assert run.until(lambda message: isinstance(message, Command)).name == "stop"


def test_without_a_run_a_stop_says_that_nobody_took_it(folder: Path) -> None:
    done = events(
        voice("--text", "--json", "--folder", str(folder), said="stop\nwhere is the red box\n")
    )
    told = {one["event"]: one for one in done}
    assert "nobody received" in told["not-ordered"]["why"]
    assert "nobody received" in told["unanswered"]["why"]
    said = [one["text"] for one in done if one["event"] == "said"]
    assert said == ["Nobody took the order. Use the switch.", "The assistant does not answer."]


def test_plans_are_said_once_while_they_are_new(start: Start, folder: Path, tmp_path: Path) -> None:
    run = start(
        *("--source", str(noisy(tmp_path / "long.avi", 400, 20.0)), "--instruction", "now?"),
        *("--interval", "0.2"),
    )
    run.answer()
    process = subprocess.Popen(
        [*VOICE, "--text", "--json", "--say-plans", "--folder", str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    said = json.loads(process.stdout.readline())
    assert said["event"] == "said"
    run.until(lambda message: isinstance(message, Answer) and message.text == said["text"])
    process.stdin.close()
    assert process.wait(LIMIT_S) == 0
    process.stdout.close()


def test_how_a_reply_is_said() -> None:
    answer = Answer(
        text="Turn left.",
        frame_ids=(1,),
        captured_mono_ns=0,
        captured_wall_ns=0,
        age_ms=3600,
        ttl_ms=2000,
        model_hash="",
        late=True,
    )
    assert wording(answer) == "4 seconds ago: Turn left."
    assert wording(Abstain(reason="camera-black")) == "I cannot see at the moment."
    assert wording(Abstain(reason="prompt")) == NO_ANSWER


def refused(*words: str, said: str, env: dict[str, str] | None = None) -> None:
    done = voice(*words, env=env)
    assert done.returncode == 2, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr


@needs_espeak
@needs_sphinx
@pytest.mark.skipif(find_spec("pyaudio") is None, reason="pyaudio is not installed")
def test_a_device_that_is_not_there_is_a_sentence() -> None:
    refused("--speaker", "no such thing", said="there is no loudspeaker 'no such thing'")
    listed = voice("--list", "--json")
    assert listed.returncode == 0
    assert "ALSA" not in listed.stderr
    assert all(json.loads(line)["name"] for line in listed.stdout.splitlines())


def without(package: str, folder: Path) -> dict[str, str]:
    """An environment whose Python does not find this package."""
    (folder / "sitecustomize.py").write_text(
        "import sys\n"
        "class Without:\n"
        "    def find_spec(self, name, *_):\n"
        f"        if name == {package!r}:\n"
        "            raise ModuleNotFoundError(name, name=name)\n"
        "sys.meta_path.insert(0, Without())\n"
    )
    return {"PYTHONPATH": os.pathsep.join([str(folder), *sys.path])}


@pytest.mark.parametrize(("package", "option"), [("pyaudio", "--list"), ("pocketsphinx", "--json")])
def test_a_missing_package_is_the_line_that_installs_it(
    tmp_path: Path, package: str, option: str
) -> None:
    line = f"{package} is not installed; run: pip install 'otter-edge[voice]'"
    refused(option, said=line, env=without(package, tmp_path))


def test_typing_needs_neither(folder: Path, tmp_path: Path) -> None:
    words = ("--text", "--json", "--folder", str(folder))
    done = events(voice(*words, said="hello?\n", env=without("pyaudio", tmp_path)))
    assert [one["event"] for one in done] == ["heard", "ignored"]


def test_phrases_that_cannot_be_used_are_refused_before_any_sound(tmp_path: Path) -> None:
    path = tmp_path / "phrases.yaml"
    path.write_text("phrases: [{say: 'a | b', ask: x}]\n")
    refused("--phrases", str(path), said="cannot be listened for")
    refused("--phrases", str(tmp_path / "none.yaml"), said="cannot be read")
    refused("--speed", "9000", said="80 to 450")
