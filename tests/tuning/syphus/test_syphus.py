"""Syphus against a real HTTP server with bad manners: nothing lost, nothing paid twice."""

from __future__ import annotations

import argparse
import json
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from tests.tuning.syphus.model_server import Server

from otter_runtime.errors import UserError
from otter_tuning.commands import syphus
from otter_tuning.mimicit.check import check
from otter_tuning.mimicit.instructions import Instructions
from otter_tuning.syphus.cold_start import NotSatisfactory
from otter_tuning.syphus.filters import right_language
from otter_tuning.syphus.task import read_task

SERVER = Path(__file__).with_name("model_server.py")


def call(*words: object) -> int:
    parser = argparse.ArgumentParser()
    syphus.add_arguments(parser)
    return syphus.run(parser.parse_args([str(word) for word in words]))


def annotated(path: Path, clips: int) -> Path:
    """Clips of a kitchen, a workshop and a garden, each line its own."""
    things = ["kettle", "cupboard", "wrench", "bicycle", "garden", "hammer", "sponge", "ladder"]
    lines = []
    for clip in range(clips):
        chance = random.Random(clip)
        label = f"item{chr(97 + clip // 26)}{chr(97 + clip % 26)}"
        told = [
            {"at": at, "text": f"a {label} by a {' and a '.join(chance.sample(things, 2))}"}
            for at in range(1 + clip % 4)
        ]
        images = [f"OWN_IMG_c{clip:03d}_{at:04d}" for at in range(len(told))]
        lines.append(json.dumps({"id": f"c{clip}", "captions": told, "images": images}))
    path.write_text("\n".join(lines))
    return path


def words(server: str, out: Path, timeout_s: float = 60) -> list[object]:
    return ["-o", out, "--endpoint", server, "--timeout-s", timeout_s, "--json"]


def test_a_whole_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given, out = annotated(tmp_path / "own.jsonl", 24), tmp_path / "out"
    with Server() as server:
        where = words(server.url, out, timeout_s=1)
        price = ["--price-in", "2.5", "--price-out", "10"]
        assert call("run", "OWN", given, *where, "--languages", "zh,es,ar", *price) == 0
        told = json.loads(capsys.readouterr().out)
        treated = Counter(manner for _, manner in server.arrivals)
        assert {"429", "500", "slow", "broken", "language", "short"} <= set(treated)
        # Once more: all of it is in the journal.
        assert call("run", "OWN", given, *where, "--languages", "zh,es,ar") == 0
        again = json.loads(capsys.readouterr().out)

    assert again["pairs"] == told["pairs"]
    assert again["calls"]["sent"] == 0
    made = Instructions.read(out / "OWN_instructions.json")
    images = [image for pair in made for image in pair.image_ids]
    assert check(made, images).faults == []
    for pair in made:
        language = pair.id.partition("_INS_")[2].partition("_")[2] or "en"
        assert right_language(f"{pair.instruction} {pair.answer}", language)
    english = [pair for pair in made if pair.id[-1].isdigit()]
    assert len(made) == 4 * len(english)
    rejected = [json.loads(line) for line in (out / "rejected.jsonl").read_text().splitlines()]
    reasons = Counter(one["reason"] for one in rejected)
    assert reasons == told["rejected"]
    assert {"unreadable", "wrong-language", "other-number", "refusal", "duplicate"} <= set(reasons)
    assert all(one["query"] for one in rejected)
    cents = Decimal(told["prompt_tokens"]) * Decimal("2.5") + 10 * Decimal(
        told["completion_tokens"]
    )
    assert abs(Decimal(told["dollars"]) - cents / 1_000_000) <= Decimal("0.005")


def test_a_rate_limit_holds_everybody_back(tmp_path: Path) -> None:
    given = annotated(tmp_path / "own.jsonl", 12)
    # It thinks about what it takes for so long that a refusal is heard first.
    with Server(("429", "well"), think_s=0.3, retry_after="1.0") as server:
        assert (
            call("run", "OWN", given, *words(server.url, tmp_path / "o"), "--concurrency", 3) == 0
        )
    first = next(when for when, manner in server.arrivals if manner == "429")
    # Those under way may still arrive; nobody else before the server's second is over.
    early = [when for when, _ in server.arrivals if first < when < first + 0.9]
    assert len(early) <= 2
    assert sum(manner == "well" for _, manner in server.arrivals) == 12


def test_what_no_try_can_mend_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = annotated(tmp_path / "own.jsonl", 2)
    with Server() as server:
        monkeypatch.setenv("MY_KEY", "wrong")
        where = words(server.url, tmp_path / "o")
        with pytest.raises(UserError, match=r"refuses the request \(401\)"):
            call("run", "OWN", given, *where, "--key-from", "MY_KEY")
        with pytest.raises(UserError, match=r"there is no .*nothere"):
            call("run", "OWN", given, *where, "--images", tmp_path / "nothere")
        assert server.answered == []
        with pytest.raises(UserError, match="there is no language 'xx'"):
            call("run", "OWN", given, *where, "--languages", "xx")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(UserError, match="there is no key"):
        call("run", "OWN", given, "-o", tmp_path / "p")
    with pytest.raises(UserError, match="a price is dollars"):
        call("run", "OWN", given, *where, "--price-in", "cheap")


def test_a_server_that_never_answers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = annotated(tmp_path / "own.jsonl", 1)
    where = ["-o", tmp_path / "o", "--endpoint", "http://127.0.0.1:9/v1", "--json", "--tries", 2]
    assert call("run", "OWN", given, *where) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["rejected"] == {"no-reply": 1}
    assert told["pairs"] == 0


@pytest.mark.parametrize("languages", ["", "de,ko"])
def test_the_dry_run_predicts_the_cost(
    languages: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = annotated(tmp_path / "own.jsonl", 160)
    price = ["--price-in", "2.5", "--price-out", "1000", "--languages", languages]
    with Server(("well",)) as server:
        where = words(server.url, tmp_path / "o")
        assert call("estimate", "OWN", given, *where, *price, "--pilot", 40) == 0
        predicted = json.loads(capsys.readouterr().out)
        sent = len(server.answered)
        assert call("run", "OWN", given, *where, *price) == 0
        real = json.loads(capsys.readouterr().out)
        assert len(server.answered) == len(set(server.answered))
    assert (predicted["queries"], predicted["pilot"]) == (160, 40)
    assert sent == 40 * (1 + len(languages.split(",")) * bool(languages))
    assert float(predicted["dollars"]) == pytest.approx(float(real["dollars"]), rel=0.05)


def test_the_same_question_is_asked_once(tmp_path: Path) -> None:
    given = annotated(tmp_path / "own.jsonl", 4)
    line = given.read_text().splitlines()[3]
    given.write_text("\n".join(line.replace('"c3"', f'"c{n}"') for n in range(6)))
    with Server(("well",), think_s=0.3) as server:
        assert (
            call("run", "OWN", given, *words(server.url, tmp_path / "o"), "--languages", "zh") == 0
        )
        assert len(server.answered) == 2
    made = Instructions.read(tmp_path / "o" / "OWN_instructions.json")
    assert len(made) % 12 == 0


def test_cold_start(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = annotated(tmp_path / "own.jsonl", 20)
    with Server(("well",)) as server:
        where = words(server.url, tmp_path / "o")
        assert call("cold-start", "OWN", given, *where, "--score", "0.7", "--examples", 2) == 0
        told = json.loads(capsys.readouterr().out)
        assert len(told["scores"]) == 2
        assert min(told["scores"]) >= 0.7
        assert len(read_task(told["written"]).examples) == 2
        with pytest.raises(NotSatisfactory, match=r"after 5 calls the worst of 2 examples scores"):
            call("cold-start", "OWN", given, *where, "--score", "0.999", "--most-calls", 5)


def killed(tmp_path: Path, moments: int) -> None:
    """Kill -9 a run again and again; what came back is never asked again, the end is the same."""
    given, log = annotated(tmp_path / "own.jsonl", 30), tmp_path / "keys"
    program = "import sys; from otter_runtime.cli import main; sys.exit(main(sys.argv[1:]))"
    server = subprocess.Popen(
        [sys.executable, str(SERVER), str(log), "0.03"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert server.stdout is not None
    url = server.stdout.readline().strip()

    def started(out: Path) -> subprocess.Popen[bytes]:
        line = ["syphus", "run", "OWN", given, *words(url, out), "--languages", "fr,ja"]
        return subprocess.Popen(
            [sys.executable, "-c", program, *map(str, line)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    try:
        assert started(tmp_path / "whole").wait(120) == 0
        whole = log.read_text().split()
        log.unlink()
        chance = random.Random(0)
        for _ in range(moments):
            process = started(tmp_path / "cut")
            time.sleep(chance.uniform(0.8, 2.0))
            process.send_signal(signal.SIGKILL)
            process.wait()
            known = set(journalled(tmp_path / "cut"))
            before = Counter(log.read_text().split()) if log.exists() else Counter()
        assert started(tmp_path / "cut").wait(120) == 0
        after = Counter(log.read_text().split())
    finally:
        server.communicate()
    assert set(after) == set(whole)
    assert [key for key in known if after[key] > before[key]] == []
    # A call may come again only if the run was killed while it was under way.
    assert all(count <= 1 + moments for count in after.values())
    names = ("OWN_instructions.json", "rejected.jsonl")
    for name in names:
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def journalled(out: Path) -> list[Any]:
    import sqlite3

    if not (out / "calls.sqlite").exists():
        return []
    base = sqlite3.connect(out / "calls.sqlite")
    try:
        return [row[0] for row in base.execute("SELECT key FROM call")]
    except sqlite3.OperationalError:  # killed before the table was there
        return []
    finally:
        base.close()


def test_kills_repeat_no_call_that_came_back(tmp_path: Path) -> None:
    killed(tmp_path, 2)


@pytest.mark.slow
def test_twenty_kills(tmp_path: Path) -> None:
    killed(tmp_path, 20)
