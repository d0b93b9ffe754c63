"""`otter-edge compare` and `rank` on a real trial: the pocket model, itself, and a damaged copy."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import numpy as np
import pytest
from tests.runtime.chromium import Chromium, needed

from otter_runtime.assembly import POCKET
from otter_runtime.bundle import MANIFEST, Bundle, file_sha256, read_manifest, write_manifest
from otter_runtime.cli import main
from otter_runtime.compare.gate import WORSE
from otter_runtime.labels import Labels
from otter_runtime.trials.shelf import trials_in

CLIPS = Path(POCKET).parent / "clip"
LIMIT_S = 180.0


def recorded(folder: Path, bundle: Path) -> Path:
    """A packaged clip, asked what its labels know the answer to."""
    (clip,) = Labels.load(CLIPS).clips[:1]
    words = ["--source", str(CLIPS / clip.file), "--instruction", clip.instruction]
    words += ["--bundle", str(bundle), "--fast", "--threads", "1", "--folder", str(folder)]
    command = [sys.executable, "-m", "otter_runtime", "run", *words]
    command += ["--record", str(folder / "trials")]
    subprocess.run(command, check=True, timeout=LIMIT_S, capture_output=True)
    (path,) = trials_in(folder / "trials")
    return path


@pytest.fixture(scope="module")
def trial() -> Iterator[Path]:
    """What the pocket model said."""
    # Short, because a socket's path may have 107 bytes.
    with tempfile.TemporaryDirectory(prefix="otter-") as name:
        yield recorded(Path(name), Path(POCKET))


@pytest.fixture(scope="module")
def worse_trial(damaged: Path) -> Iterator[Path]:
    """What the damaged one said."""
    with tempfile.TemporaryDirectory(prefix="otter-") as name:
        yield recorded(Path(name), damaged)


@pytest.fixture(scope="module")
def damaged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pocket bundle with a hundredth of its decoder's weights at random, and right hashes."""
    folder = tmp_path_factory.mktemp("bundle") / "damaged"
    shutil.copytree(POCKET, folder)
    manifest = read_manifest(folder / MANIFEST)
    name = manifest.graphs.decoder.data
    assert name
    weights, dice = np.fromfile(folder / name, np.uint8), np.random.default_rng(0)
    hit = dice.random(len(weights)) < 0.01
    weights[hit] = dice.integers(0, 256, hit.sum(), np.uint8)
    weights.tofile(folder / name)
    files = manifest.files | {name: file_sha256(folder / name)}
    write_manifest(folder / MANIFEST, msgspec.structs.replace(manifest, files=files))
    assert Bundle.load(folder).model_hash != Bundle.load(POCKET).model_hash
    return folder


def compared(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, dict[str, Any]]:
    """Exit code and what --json says."""
    code = main(["compare", *map(str, words), "--json"])
    said: dict[str, Any] = json.loads(capsys.readouterr().out)
    return code, said


def test_the_pocket_model_against_itself_is_no_difference(
    trial: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, said = compared(capsys, trial, "--a", POCKET, "--b", POCKET, "--timed")
    assert (code, said["verdict"]) == (0, "no difference")
    assert said["other_frames"] == said["only_a"] == said["only_b"] == 0


def test_the_pocket_model_says_what_was_recorded(
    trial: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, said = compared(capsys, trial, "--b", POCKET, "--labels", CLIPS, "--min-pairs", 10)
    assert (code, said["verdict"]) == (0, "no difference")
    assert said["a"]["model_hash"] == said["b"]["model_hash"] == Bundle.load(POCKET).model_hash
    assert (said["a"]["clock"], said["b"]["clock"]) == ("device", "table")
    assert (said["only_a"], said["only_b"], said["divergence"]) == (0, 0, None)
    assert said["other_frames"] == 0  # however busy the machine was when it was recorded
    assert said["score"]["first"] == said["score"]["second"] >= 0.9
    assert {"prefill", "decode", "total"} <= {stage["stage"] for stage in said["stages"]}


def test_a_trial_against_itself_is_no_difference(
    trial: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, said = compared(capsys, trial, trial, "--max-slower", 0)
    assert (code, said["verdict"], said["agreement"]["value"]) == (0, "no difference", 1.0)


@needed
def test_a_damaged_bundle_is_worse_and_the_page_shows_it(
    trial: Path, damaged: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "page.html"
    words = [trial, "--a", POCKET, "--b", damaged, "--labels", CLIPS, "--html", path]
    code, said = compared(capsys, *words)
    assert (code, said["verdict"]) == (WORSE, "worse") == (3, "worse")
    assert said["score"]["high"] < -0.5
    assert said["divergence"]["at"] == 0
    assert said["b"]["model_hash"] == Bundle.load(damaged).model_hash
    with Chromium(tmp_path / "profile") as page:
        page.open(path.as_uri())
        assert page.value("document.getElementById('verdict').textContent") == "worse"
        assert page.value("document.querySelectorAll('article.differs').length") == said["pairs"]
        texts = "[...document.querySelectorAll('#question-1 blockquote')].map(x => x.textContent)"
        first = said["rows"][0]
        shown = [" ".join(text.split()) for text in page.value(texts)]
        assert shown == [" ".join(first[run]["answer"].split()) for run in "ab"]
        assert page.value("document.images.length") > said["pairs"]
        assert page.value("[...document.images].every(one => one.naturalWidth > 0)")
        assert page.value("performance.getEntriesByType('resource').length") == 0


def test_a_worse_trial_is_worse_with_labels_and_without(
    trial: Path, worse_trial: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [str(trial), str(worse_trial)]
    assert main(["compare", *words]) == WORSE
    said = capsys.readouterr().out
    assert said.splitlines()[-1] == "worse"
    assert "first apart at question 1 at frame 0 of episode-0.avi" in said
    assert "say the same; 90.0% are asked for" in said
    code, found = compared(capsys, *words, "--labels", CLIPS)
    assert (code, found["score"]["of"], found["score"]["second"]) == (WORSE, "right", 0.0)
    assert main(["compare", *words, "--min-agreement", "0"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "within the gate"


def rating(a: Path, b: Path, folder: Path) -> tuple[subprocess.Popen[str], str]:
    """A command that waits for votes, and where."""
    words = ["compare", str(a), str(b), "--rate", "--min-agreement", "0"]
    process = subprocess.Popen(
        [sys.executable, "-m", "otter_runtime", *words],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr
    for line in process.stderr:
        if found := re.search(r"http://\S+/", line):
            return process, found[0]
    raise AssertionError("it serves no page")


def told(url: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    origin = "http://" + urlsplit(url).netloc
    request = urllib.request.Request(url, json.dumps(body).encode() if body is not None else None)
    request.add_header("Origin", origin)
    request.add_header("Content-Type", "application/json")
    with urllib.request.urlopen(request, timeout=LIMIT_S) as reply:
        said: dict[str, Any] = json.load(reply)
        return said


def test_rating_is_resumed_and_makes_standings(
    trial: Path, worse_trial: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    process, url = rating(trial, worse_trial, tmp_path)
    first = told(url + "pair/next")
    assert told(url + "vote", {"number": first["number"], "vote": 0})["rated"] == 1
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=LIMIT_S)
    assert process.returncode == 0
    process, url = rating(trial, worse_trial, tmp_path)
    shown = told(url + "pair/next")
    assert (shown["rated"], shown["number"]) == (1, first["number"] + 1)
    while shown["number"] is not None:
        # Somebody who likes sentences that say what to do.
        liked = next(n for n, text in enumerate(shown["answers"], 1) if ":" in text)
        shown = told(url + "vote", {"number": shown["number"], "vote": liked})
    told(url + "finish", {})
    said, _ = process.communicate(timeout=LIMIT_S)
    assert process.returncode == WORSE  # a score by votes counts as one by labels
    assert "✗ preferred" in said
    assert main(["rank", str(tmp_path / "votes.jsonl"), "--json"]) == 0
    best, worst = map(json.loads, capsys.readouterr().out.splitlines())
    assert (best["name"], worst["lost"]) == (trial.name, best["votes"] - 1)
    assert best["low"] > worst["high"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["TRIAL"], "maybe --a BUNDLE"),
        (["TRIAL", "TRIAL", "--b", "BUNDLE"], "or two trials"),
        (["TRIAL", "TRIAL", "TRIAL"], "or two trials"),
        (["no", "TRIAL"], "there is no no"),
        (["TRIAL", "--b", "no"], "cannot be read"),
        (["TRIAL", "TRIAL", "--max-drop", "2"], "max_drop"),
        (["TRIAL", "TRIAL", "--min-pairs", "5000"], "lower --min-pairs"),
        (["TRIAL", "TRIAL", "--expect", "no"], "expected answers"),
        (["TRIAL", "TRIAL", "--labels", "no"], "labels"),
        (["TRIAL", "TRIAL", "--votes", "no"], "cannot be read"),
        (["TRIAL", "TRIAL", "--html", "no/page.html"], "cannot be written"),
    ],
)
def test_mistakes_are_the_user_s(
    trial: Path, words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    names = {"TRIAL": str(trial), "BUNDLE": str(POCKET)}
    assert main(["compare", *(names.get(word, word) for word in words)]) == 2
    assert said in capsys.readouterr().err


def test_a_mistake_costs_no_page(trial: Path, tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_text("the last one")
    assert main(["compare", str(trial), "--html", str(path)]) == 2
    assert path.read_text() == "the last one"


def test_votes_are_needed_for_standings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "votes.jsonl").touch()
    assert main(["rank", str(tmp_path / "votes.jsonl")]) == 2
    assert "no votes yet" in capsys.readouterr().err
