"""The example's own commands, in its own order, with few clips and few steps."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HERE = "examples/your_own_scene"
FENCE = re.compile(r"^```\n(.*?)^```", re.MULTILINE | re.DOTALL)
# What makes it small: clips, and a run that ends.
TINY = {
    f"python {HERE}/make_scene.py {HERE}/work/clips": ["--clips", "4"],
    "otter-edge tune": ["--steps", "2"],
    "otter-edge run": ["--fast", "--json", "--folder", "bus"],
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of what the commands read, so that nothing is written here."""
    shutil.copytree(ROOT / HERE, tmp_path / HERE, ignore=shutil.ignore_patterns("work"))
    shutil.copytree(ROOT / "tuning/pocket/checkpoint", tmp_path / "tuning/pocket/checkpoint")
    return tmp_path


def commands() -> Iterator[list[str]]:
    (block,) = FENCE.findall((ROOT / HERE / "README.md").read_text())
    for line in block.splitlines():
        more = next((more for start, more in TINY.items() if line.startswith(start)), [])
        yield [*shlex.split(line), *more]


def command(words: list[str]) -> list[str]:
    program = {"python": [sys.executable], "otter-edge": [sys.executable, "-m", "otter_runtime"]}
    return [*program[words[0]], *words[1:]]


def test_from_footage_to_answers(folder: Path) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    server, url, said = None, "", ""
    try:
        for words in commands():
            if any(word.endswith("local_model.py") for word in words):
                server = subprocess.Popen(
                    command([*words[:2], "--port", "0"]),
                    cwd=folder,
                    stdout=subprocess.PIPE,
                    text=True,
                )
                assert server.stdout is not None
                url = server.stdout.readline().strip()
                continue
            line = [url if word.startswith("http://") else word for word in words]
            done = subprocess.run(
                command(line),
                cwd=folder,
                env=environment,
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, (line, done.stderr[-2000:])
            said = done.stdout
    finally:
        if server is not None:
            server.kill()
            server.communicate()
    messages = [json.loads(line) for line in said.splitlines()]
    answers = [one for one in messages if one["schema"] == "Answer"]
    assert answers
    assert all(one["text"] and one["frame_ids"] for one in answers)
    pairs = json.loads((folder / HERE / "work/data/OWN_instructions.json").read_text())["data"]
    assert len(pairs) == 16
