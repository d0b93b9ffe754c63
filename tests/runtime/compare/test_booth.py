"""Rating: votes that survive, a page that tells nothing, and guests who are no guests."""

from __future__ import annotations

import http.client
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from tests.runtime.chromium import Chromium, needed
from tests.runtime.compare.runs import pairing

from otter_runtime.compare.album import Album
from otter_runtime.compare.ballot import Ballots, Cast
from otter_runtime.compare.booth import Booth
from otter_runtime.compare.pairing import Pairing
from otter_runtime.compare.votes import VoteFile, bouts, preferences, voted
from otter_runtime.errors import AddressRefused, UserError
from otter_runtime.pages.pictures import small

ANSWERS_A = ["left", "go on", None, "<img src=x onerror='document.title=1'>"]
ANSWERS_B = ["Left.", "stop", "stop", "back"]


def album(seed: int) -> Album:
    generator = np.random.default_rng(seed)
    return {
        frame: small(generator.integers(0, 255, (40, 60, 3), np.uint8), 50) for frame in range(5)
    }


@pytest.fixture
def pairs() -> Pairing:
    return pairing(ANSWERS_A, ANSWERS_B)


@pytest.fixture
def votes(tmp_path: Path) -> Iterator[VoteFile]:
    file = VoteFile(tmp_path / "votes.jsonl", writing=True)
    yield file
    file.close()


@pytest.fixture
def ballots(pairs: Pairing, votes: VoteFile) -> Ballots:
    both = album(0)
    return Ballots(pairs, (both, both), votes)


@pytest.fixture
def booth(ballots: Ballots) -> Iterator[Booth]:
    made = Booth(ballots)
    yield made
    made.close()


def test_votes_are_on_the_disk_and_the_last_one_counts(pairs: Pairing, votes: VoteFile) -> None:
    one, two = pairs.pairs[1], pairs.pairs[2]
    for pair, won in ((one, "a"), (two, "same"), (one, "b")):
        votes.add(voted(pairs, pair, won))  # type: ignore[arg-type]
    again = VoteFile(votes.path)
    assert len(votes.path.read_bytes().splitlines()) == 3
    assert preferences(pairs, again) == [(False, True), (False, False)]
    assert sorted(bouts([again])) == [("a", "b", 0.0), ("a", "b", 0.5)]
    other = pairing(ANSWERS_A, ["Left.", "halt", "stop", "back"])
    assert preferences(other, again) == [(False, False)]  # of another answer nobody said anything


def test_a_torn_vote_is_none_and_the_next_one_is_whole(pairs: Pairing, tmp_path: Path) -> None:
    path = tmp_path / "votes.jsonl"
    file = VoteFile(path, writing=True)
    file.add(voted(pairs, pairs.pairs[1], "a"))
    file.close()
    line = path.read_bytes()
    for length in range(0, len(line), 9):
        path.write_bytes(line + line[:length])
        file = VoteFile(path, writing=True)
        assert len(file.votes) == 1
        file.add(voted(pairs, pairs.pairs[2], "b"))
        file.close()
        assert len(VoteFile(path).votes) == 2


def test_a_file_of_something_else_or_somebody_else_is_refused(
    votes: VoteFile, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="another rating"):
        VoteFile(votes.path, writing=True)
    other = tmp_path / "other"
    other.write_text("{}\n")
    with pytest.raises(UserError, match=r"line 1 of .* is no vote"):
        VoteFile(other)
    with pytest.raises(UserError, match="cannot be read"):
        VoteFile(tmp_path / "none")
    with pytest.raises(UserError, match="cannot be written"):
        VoteFile(tmp_path / "no" / "folder", writing=True)


def test_only_what_differs_is_rated_in_an_order_that_tells_nothing(
    pairs: Pairing, votes: VoteFile
) -> None:
    first = []
    for seed in range(40):
        ballots = Ballots(pairs, (album(0), album(1)), votes, secret=bytes([seed]))
        assert len(ballots.pairs) == 3
        shown = ballots.shown(0)
        assert shown is not None
        assert shown == ballots.shown(0)
        assert sorted(map(str, shown.answers)) == ["go on", "stop"]
        assert shown.both == ()
        # The picture of a's newest frame, wherever a stands.
        at = shown.answers.index("go on")
        assert ballots.picture(shown.frames[at][-1]) == album(0)[2].file
        first.append((shown.answers[0], shown.frames[0][-1] < shown.frames[1][-1]))
    # Neither the place nor the number of a picture goes with the run.
    assert {answer for answer, _ in first} == {"go on", "stop"}
    assert len(set(first)) == 4


def test_a_vote_goes_to_the_run_whose_answer_was_chosen(pairs: Pairing, votes: VoteFile) -> None:
    both = album(0)
    for seed in range(8):
        ballots = Ballots(pairs, (both, both), votes, secret=bytes([seed]))
        shown = ballots.shown(0)
        assert shown is not None
        assert len(shown.both) == 2
        for vote in (1, 2):
            ballots.cast(Cast(number=0, vote=vote))
            kept = votes.of(VoteFile(votes.path).votes[-1].pair)
            assert kept is not None
            assert {"a": "go on", "b": "stop"}[kept.won] == shown.answers[vote - 1]
        ballots.cast(Cast(number=0, vote=0))
        assert votes.votes[-1].won == "same"
    assert ballots.rated == 1
    assert ballots.next().number == 1


def ask(
    booth: Booth,
    path: str,
    body: bytes | None = None,
    headers: dict[str, str] | None = None,
    method: str | None = None,
) -> tuple[int, Any]:
    """Code, and what the JSON says; the page's own headers where none are given."""
    url = urlsplit(booth.url)
    own = {"Origin": f"http://{url.netloc}", "Content-Type": "application/json"}
    connection = http.client.HTTPConnection("127.0.0.1", url.port or 0, timeout=60)
    try:
        connection.request(
            method or ("GET" if body is None else "POST"),
            path if path.startswith("/") else url.path + path,
            body,
            own if headers is None else headers,
        )
        reply = connection.getresponse()
        text = reply.read()
        kind = reply.headers["Content-Type"]
        return reply.status, json.loads(text) if kind == "application/json" else text
    finally:
        connection.close()


GOOD = b'{"number": 0, "vote": 1}'


def test_it_serves_the_page_the_pairs_and_the_pictures(booth: Booth, votes: VoteFile) -> None:
    for path in ("", "booth.js", "booth.css", "style.css"):
        assert ask(booth, path)[0] == 200
    code, said = ask(booth, "pair/next")
    assert (code, said["number"], said["pairs"], said["rated"]) == (200, 0, 3, 0)
    assert set(said) == {"number", "rated", "pairs", "question", "answers", "both", "frames"}
    code, picture = ask(booth, f"picture/{said['both'][0]}")
    assert (code, picture[:2]) == (200, b"\xff\xd8")
    code, said = ask(booth, "vote", GOOD)
    assert (code, said["number"], said["rated"]) == (200, 1, 1)
    assert ask(booth, "pair/last")[1]["number"] == 2
    assert len(VoteFile(votes.path).votes) == 1
    assert not booth.finished.is_set()
    assert ask(booth, "finish", b"{}")[0] == 200
    assert booth.finished.is_set()


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", 400),
        (b"{", 400),
        (b"\xff\xfe", 400),
        (b"[]", 400),
        (b'{"number": 0}', 400),
        (b'{"number": 0, "vote": 3}', 400),
        (b'{"number": 0, "vote": "1"}', 400),
        (b'{"number": -1, "vote": 1}', 400),
        (b'{"number": 1e400, "vote": 1}', 400),
        (b'{"number": NaN, "vote": 1}', 400),
        (b'{"number": 0, "vote": 1, "run": "a"}', 400),
        (b"[" * 1000, 400),
        (b'{"number": 3, "vote": 1}', 404),
        (b'{"number": 99999999999999999999, "vote": 1}', 404),
        (GOOD + b" " * 1024, 413),
    ],
)
def test_what_is_no_vote_is_refused(booth: Booth, votes: VoteFile, body: bytes, code: int) -> None:
    assert ask(booth, "vote", body)[0] == code
    assert votes.votes == []
    assert ask(booth, "vote", GOOD)[0] == 200


def test_whoever_does_not_know_the_address_gets_nothing(booth: Booth, votes: VoteFile) -> None:
    token = urlsplit(booth.url).path.strip("/")
    near = [f"/{token}", f"/{token[:-1]}x/", f"/{token}x/vote", f"/x/{token}/vote"]
    for path in ["/", "/pair/next", "//vote", "/../vote", "/%2e/", "/%c3%a9/vote", *near]:
        assert ask(booth, path)[0] == 404, path
        assert ask(booth, path, GOOD)[0] == 404, path
    for path in ("pair/3", "pair/-1", "pair/", "picture/999999999999", "picture/x", "../x", "vote"):
        assert ask(booth, path)[0] == 404, path
    assert votes.votes == []


@pytest.mark.parametrize(
    "sent",
    [
        b"\x00\xff\r\n\r\n",
        b"GET /\xe9/ HTTP/1.1\r\nHost: HOST\r\n\r\n",
        b"GET " + b"/" * 70_000 + b" HTTP/1.1\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: HOST\r\nContent-Length: 99\r\n\r\n{",
    ],
)
def test_noise_is_survived(booth: Booth, votes: VoteFile, sent: bytes) -> None:
    url = urlsplit(booth.url)
    with socket.create_connection(("127.0.0.1", url.port or 0), timeout=60) as line:
        line.sendall(sent.replace(b"HOST", url.netloc.encode()))
        line.shutdown(socket.SHUT_WR)
        assert b" 200 " not in line.recv(1 << 16)
    assert ask(booth, "vote", GOOD)[0] == 200
    assert len(votes.votes) == 1


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": ""}, 403),
        ({"Content-Type": "text/plain"}, 415),
        ({"Content-Type": "application/x-www-form-urlencoded"}, 415),
        ({"Host": "evil.example", "Origin": "http://evil.example"}, 421),
        ({"Content-Length": "-5"}, 411),
        ({"Content-Length": "x"}, 411),
    ],
)
def test_another_page_cannot_vote(
    booth: Booth, votes: VoteFile, changed: dict[str, str], code: int
) -> None:
    origin = booth.url.rpartition("/")[0].rpartition("/")[0]
    own = {"Origin": origin, "Content-Type": "application/json"}
    assert ask(booth, "vote", GOOD, own | changed)[0] == code
    assert votes.votes == []
    for method in ("PUT", "DELETE", "OPTIONS"):
        assert ask(booth, "vote", GOOD, own, method)[0] == 501


def test_a_name_that_was_bound_to_this_machine_reads_nothing(booth: Booth) -> None:
    assert ask(booth, "pair/next", headers={"Host": "evil.example"})[0] == 421


def test_a_disk_that_is_full_is_said_and_the_vote_is_not_counted(
    booth: Booth, ballots: Ballots, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "write", lambda file, line: len(line) // 2)
    code, said = ask(booth, "vote", GOOD)
    assert (code, said["detail"]) == (500, "the vote cannot be saved (No space left on device)")
    assert ballots.rated == 0


def test_a_port_that_is_taken_is_the_user_s_to_change(booth: Booth, ballots: Ballots) -> None:
    for port in (urlsplit(booth.url).port or 0, 99999):
        with pytest.raises(AddressRefused, match="--port"):
            Booth(ballots, port)


@needed
def test_a_person_rates_in_a_browser(
    booth: Booth, ballots: Ballots, votes: VoteFile, tmp_path: Path
) -> None:
    with Chromium(tmp_path / "profile") as page:
        page.open(booth.url)
        page.until("!document.getElementById('ballot').hidden")
        page.until("[...document.images].length === 2")
        page.until("[...document.images].every(one => one.complete && one.naturalWidth === 50)")
        assert page.value("document.getElementById('answer-1').textContent") in ("go on", "stop")
        chosen = page.value("document.getElementById('answer-2').textContent")
        page.press("2")
        page.until("document.getElementById('progress').textContent === '1 of 3 rated'")
        (vote,) = VoteFile(votes.path).votes
        assert {"a": vote.answer_a, "b": vote.answer_b}[vote.won] == chosen
        page.press("0")
        page.until("document.getElementById('progress').textContent === '2 of 3 rated'")
        # Hostile words are words: nothing of them ran, or became a picture.
        shown = "document.querySelector('.beside').textContent"
        assert "<img src=x" in page.value(shown)
        assert page.value("document.title") == "Which answer is better?"
        page.press("Backspace")
        page.until("document.querySelector('.none') !== null")  # the one that gave no answer
        page.value("document.querySelector('[data-vote=\"1\"]').click()")
        page.until("document.getElementById('question').textContent.length > 0")
        page.until(f"{shown}.includes('<img src=x')")
        page.press("1")
        page.until("!document.getElementById('end').hidden")
        page.press("Enter")
        page.until("document.getElementById('end').textContent.includes('saved')")
    assert booth.finished.is_set()
    assert ballots.rated == 3
    assert len(votes.path.read_bytes().splitlines()) == 4


@needed
def test_another_page_in_the_same_browser_cannot_vote(
    booth: Booth, votes: VoteFile, tmp_path: Path
) -> None:
    evil = tmp_path / "evil.html"
    evil.write_text("<!doctype html><title>evil</title>")
    sent = (
        f"fetch('{booth.url}vote', {{method: 'POST', mode: 'MODE', body: '{GOOD.decode()}', "
        "headers: {'Content-Type': 'KIND'}}).then(reply => reply.type, () => 'refused')"
    )
    with Chromium(tmp_path / "profile") as page:
        page.open(evil.as_uri())
        for mode, kind in (("cors", "application/json"), ("no-cors", "text/plain")):
            told = page.value(sent.replace("MODE", mode).replace("KIND", kind))
            assert told in ("refused", "opaque")
    assert votes.votes == []
