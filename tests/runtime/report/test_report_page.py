"""The report of a real run with a fault in it, in a real browser; and of trials that are not whole.

The run is `otter-edge run --record` on the packaged clips; its model's process is killed while it
watches, and it gets hot.
"""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.runtime.chromium import Chromium, needed
from tests.runtime.run_process import Run

from otter_robots.envelope import seal
from otter_robots.messages import Abstain, Answer, Fault, Governor, Message, Question, Status
from otter_runtime.assembly import POCKET
from otter_runtime.labels import Labels
from otter_runtime.report.facts import gathered
from otter_runtime.report.page import page
from otter_runtime.trials.about import about
from otter_runtime.trials.channels import channels, enveloped, published, requested
from otter_runtime.trials.segment import PART, Segment
from otter_runtime.trials.shelf import trials_in

CLIPS = POCKET.parent / "clip"
PLAN = Labels.load(CLIPS).clips[0].instruction
HOSTILE = "</title></style><script>document.title = 'taken'</script><img src=x onerror=alert(1)>"
PHONE = 360


@dataclass
class Trial:
    """A recorded trial, what was heard of it, and its report."""

    path: Path
    heard: list[Message]
    page: Path
    facts: dict[str, Any]


def report(trial: Path, page: Path) -> dict[str, Any]:
    words = ["report", str(trial), "-o", str(page), "--labels", str(CLIPS), "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "otter_runtime", *words], capture_output=True, text=True, check=True
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.fixture(scope="module")
def trial() -> Iterator[Trial]:
    # Short, because a socket's path may have 107 bytes.
    with tempfile.TemporaryDirectory(prefix="otter-") as name:
        folder = Path(name)
        zone = folder / "root/sys/class/thermal/thermal_zone0"
        zone.mkdir(parents=True)
        (zone / "temp").write_text("50000\n")
        config = folder / "run.yaml"
        config.write_text(
            f"governor: {{root: {folder / 'root'}, interval_s: 0.1, "
            "ladder: [{above_c: 80, rate_hz: 2}]}\n"
        )
        clips = [str(CLIPS / clip.file) for clip in Labels.load(CLIPS).clips] * 8
        run = Run(
            folder, POCKET, "--source", *clips, "--instruction", PLAN, "--interval", "0.5",
            "--config", str(config), "--record", str(folder / "trials"),
        )  # fmt: skip
        try:
            run.answer()
            run.client.ask(PLAN, 30.0)
            run.brain.kill()
            run.fault("brain", cleared=True)
            run.answer()
            (zone / "temp.new").write_text("85000\n")
            (zone / "temp.new").replace(zone / "temp")
            run.until(lambda message: isinstance(message, Governor))
            run.process.send_signal(signal.SIGINT)
            run.end()
            run.process.wait(60)
        finally:
            run.close()
        (path,) = trials_in(folder / "trials")
        heard = [message for _, message in run.heard]
        yield Trial(path, heard, folder / "r.html", report(path, folder / "r.html"))


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    with Chromium(tmp_path_factory.mktemp("browser") / "profile") as one:
        one.go_offline()
        yield one


def test_its_figures_are_those_of_the_run(trial: Trial) -> None:
    facts = trial.facts
    counts = facts["counts"]
    assert facts["state"] == "whole"
    assert facts["integrity"]["missing"] == 0
    assert counts["answered"] >= sum(isinstance(one, Answer) for one in trial.heard) > 1
    assert counts["asked"] == counts["answered"] + counts["abstained"] + counts["open"]
    assert counts["questions"] == 1
    assert 0 < counts["right"] <= counts["judged"] <= counts["answered"]
    (brain,) = [one for one in facts["troubles"] if one["code"] == "brain"]
    assert brain["end_s"] - brain["begin_s"] > 0
    assert "SIGKILL" in brain["detail"]
    assert [one["kind"] for one in facts["troubles"]].count("governor") == 1
    assert facts["restarts"] == 1
    stages = {one["name"]: one for one in facts["stages"]}
    assert {"encode", "wait", "resample", "prefill", "decode", "whole answer"} <= set(stages)
    assert stages["whole answer"]["count"] == counts["answered"]
    assert 0 < stages["encode"]["p50"] <= stages["encode"]["p95"] <= stages["encode"]["p99"]
    assert facts["ran"]["model"] == "pocket"
    assert facts["ran"]["model_hashes"] == [
        next(one.model_hash for one in trial.heard if isinstance(one, Answer))
    ]
    assert any("fault" in one["kinds"] for one in facts["worst"])


@needed
def test_a_browser_without_a_network_shows_all_of_it(trial: Trial, browser: Chromium) -> None:
    browser.look(1280)
    browser.open(trial.page.as_uri())
    pictures = browser.value(
        "Promise.all([...document.images].map(i => i.decode().then(() => i.naturalWidth)))"
    )
    assert len(pictures) >= len([one for one in trial.facts["worst"] if one["orders"]]) > 0
    assert min(pictures) > 0
    plots = browser.value("[...document.querySelectorAll('svg')].map(p => p.ariaLabel)")
    for name in ("From the question", "Where the time goes", "Frames", "Temperature", "Governor"):
        assert any(label.startswith(name) for label in plots)
    heights = "[...document.querySelectorAll('svg')].map(p => p.getBoundingClientRect().height)"
    assert min(browser.value(heights)) > 30
    drawn = "[...document.querySelectorAll('svg path:not(.grid)')].map(p => p.getAttribute('d'))"
    assert all(browser.value(drawn))
    assert browser.value("document.querySelectorAll('svg .band').length") > 0
    text = browser.value("document.body.innerText")
    assert "was ended by SIGKILL" in text
    assert trial.facts["ran"]["model_hashes"][0] in text
    assert trial.facts["integrity"]["files"][0]["sha256"] in text
    assert browser.value("document.scripts.length") == 0
    assert browser.complaints == []
    assert {url for url in browser.requests if not url.startswith("data:")} == {trial.page.as_uri()}


@needed
def test_a_phone_shows_it_without_scrolling_sideways(trial: Trial, browser: Chromium) -> None:
    browser.look(PHONE)
    browser.open(trial.page.as_uri())
    assert browser.value("document.documentElement.scrollWidth") <= PHONE
    beyond = browser.value(
        "[...document.querySelectorAll('body *')].filter(e => !e.closest('.scroll, pre, .unseen')"
        f" && e.getBoundingClientRect().right > {PHONE} + 1).map(e => e.outerHTML.slice(0, 80))"
    )
    assert beyond == []


@needed
def test_it_is_light_and_dark(trial: Trial, browser: Chromium) -> None:
    colours = []
    for dark in (False, True):
        browser.look(1280, dark=dark)
        browser.open(trial.page.as_uri())
        colours.append(
            browser.value(
                "['body', 'section', '.plot .dots, .plot .box'].map(s => {"
                " const style = getComputedStyle(document.querySelector(s));"
                " return style.backgroundColor + style.color })"
            )
        )
    light, dark_ = colours
    assert all(a != b for a, b in zip(light, dark_, strict=True))


def copied(trial: Trial, to: Path) -> Path:
    shutil.copytree(trial.path, to)
    return next(iter(sorted(to.glob("*.mcap"))))


def test_of_a_killed_run_it_says_so(trial: Trial, tmp_path: Path) -> None:
    file = copied(trial, tmp_path / "trial")
    whole = file.read_bytes()
    file.unlink()
    (tmp_path / "trial" / f"0000.mcap{PART}").write_bytes(whole[: len(whole) // 3])
    facts = report(tmp_path / "trial", tmp_path / "r.html")
    assert facts["state"] == "interrupted"
    assert facts["ended"] == ""
    assert "it was killed, lost power" in (tmp_path / "r.html").read_text()


def test_of_a_damaged_trial_it_says_what_is_gone(trial: Trial, tmp_path: Path) -> None:
    file = copied(trial, tmp_path / "trial")
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 0xFF
    file.write_bytes(data)
    facts = report(tmp_path / "trial", tmp_path / "r.html")
    assert facts["state"] == "damaged"
    (harm,) = facts["integrity"]["files"][0]["harms"]
    text = (tmp_path / "r.html").read_text()
    assert f"bytes {harm['start']} to {harm['end']}" in text


@pytest.mark.parametrize("place", range(8))
def test_whatever_is_damaged_there_is_a_report(trial: Trial, tmp_path: Path, place: int) -> None:
    file = copied(trial, tmp_path / "trial")
    data = bytearray(file.read_bytes())
    at = len(data) * place // 8
    data[at + 20 : at + 3000] = bytes(2980)
    file.write_bytes(data)
    found, reading, facts = gathered(tmp_path / "trial", None, lambda *_: None)
    assert facts.state == "damaged"
    assert "damaged" in page(found, reading, facts, lambda *_: None)


class Written:
    """A trial whose every text is hostile."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        known = about(HOSTILE, {"config.json": json.dumps({HOSTILE: HOSTILE}).encode()})
        known.metadata["machine"]["device"] = HOSTILE  # type: ignore[index]
        self.segment = Segment(folder / "0000.mcap", channels().values(), known)
        self._now_ns, self._order = known.wall_ns, 0
        for message in self._messages():
            self._add(message)
        self.segment.finish({"lost": HOSTILE, "dropped_frames": HOSTILE})

    def _messages(self) -> Iterator[Message]:
        short = HOSTILE[:64]
        yield Status(state="running", model=HOSTILE, source=HOSTILE, instruction=HOSTILE)
        yield Question(id=short, text=HOSTILE)
        yield Fault(code=short, detail=HOSTILE)
        yield Governor(step=1, steps=2, reason=HOSTILE, power_mode=short)
        yield Abstain(reason=short, detail=HOSTILE, question_id=short)
        yield Answer(
            text=HOSTILE, frame_ids=(), captured_mono_ns=1, captured_wall_ns=1, age_ms=1, ttl_ms=1,
            model_hash=HOSTILE, instruction=HOSTILE, source=HOSTILE, timing={HOSTILE: 1.0},
        )  # fmt: skip
        yield Fault(code=short, detail=HOSTILE, cleared=True)

    def _add(self, message: Message) -> None:
        self._order += 1
        self._now_ns += 1_000_000_000
        asked = isinstance(message, Question)
        topic = requested(Question) if asked else published(type(message))
        name = "question" if asked else topic[1:]
        sealed = seal(message, topic=name, epoch="1-a", seq=self._order)
        data = enveloped(sealed, message)
        self.segment.add(topic, data, self._now_ns, self._now_ns, self._order)


@needed
def test_what_a_trial_says_stays_text(browser: Chromium, tmp_path: Path) -> None:
    Written(tmp_path / "trial")
    report(tmp_path / "trial", tmp_path / "r.html")
    browser.look(1280)
    browser.open((tmp_path / "r.html").as_uri())
    assert browser.value("document.scripts.length + document.images.length") == 0
    assert browser.value("document.title") == f"Trial {HOSTILE}"
    assert browser.value("document.body.innerText").count("<script>") > 10
    assert browser.complaints == []


def test_what_is_no_trial_is_refused_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "0000.mcap").write_bytes(bytes(5000))
    done = subprocess.run(
        [sys.executable, "-m", "otter_runtime", "report", str(tmp_path)],
        capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert (done.returncode, done.stderr.count("Traceback")) == (2, 0)
    assert "is no MCAP file" in done.stderr
