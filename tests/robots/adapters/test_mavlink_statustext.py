"""Status texts: cut as the protocol says, and no more of them than a radio carries."""

from __future__ import annotations

import pytest

from otter_robots.adapters.mavlink.config import Speech
from otter_robots.adapters.mavlink.statustext import Severity, Speaker, chunks, one_line


@pytest.mark.parametrize(
    ("length", "sizes"),
    [(0, [0]), (1, [1]), (50, [50]), (51, [50, 1]), (100, [50, 50, 0]), (120, [50, 50, 20])],
)
def test_a_text_is_cut_so_that_its_end_is_seen(length: int, sizes: list[int]) -> None:
    cut = chunks("x" * length, 6, 7)
    assert [len(chunk.text) for chunk in cut] == sizes
    assert [chunk.seq for chunk in cut] == list(range(len(sizes)))
    assert {chunk.id for chunk in cut} == ({0} if len(sizes) == 1 else {7})


def test_letters_of_several_bytes_are_whole_when_joined() -> None:
    text = "着陆" * 30
    assert b"".join(chunk.text for chunk in chunks(text, 6, 1)).decode() == text


def test_nothing_moves_the_cursor() -> None:
    assert one_line("go\x1b[2J\nleft\t now\u202e", 50) == "go [2J left now"
    assert one_line("x" * 60, 50) == "x" * 47 + "..."


def texts(speaker: Speaker, *at_s: float) -> list[str]:
    """What is said at these moments."""
    said = [speaker.due(one) for one in at_s]
    return [b"".join(chunk.text for chunk in cut).decode() for cut in said]


def test_one_text_at_a_time_the_most_severe_first_and_of_a_kind_the_newest() -> None:
    speaker = Speaker(Speech(every_s=1, repeat_s=10))
    speaker.say("plan", Severity.INFO, "turn left", 0)
    speaker.say("plan", Severity.INFO, "turn right", 0)
    speaker.say("fault", Severity.WARNING, "disk full", 0)
    assert texts(speaker, 0, 0.5, 1, 2) == ["disk full", "", "turn right", ""]
    assert speaker.dropped == 1


def test_what_was_just_said_is_not_said_again() -> None:
    speaker = Speaker(Speech(every_s=0, repeat_s=10))
    for second in range(25):
        speaker.say("plan", Severity.INFO, "turn left", second)
        assert texts(speaker, second) == ["turn left" if second % 10 == 0 else ""]
    assert speaker.repeated == 22


def test_what_is_no_longer_true_is_not_said() -> None:
    speaker = Speaker(Speech(every_s=5))
    speaker.say("fault", Severity.WARNING, "disk full", 0)
    speaker.say("plan", Severity.INFO, "turn left", 0, until_s=3)
    assert texts(speaker, 0, 5) == ["disk full", ""]
    assert speaker.dropped == 1


def test_a_flood_of_kinds_is_held_to_the_most_severe() -> None:
    speaker = Speaker(Speech(every_s=0))
    speaker.say("plan", Severity.INFO, "turn left", 0)
    for number in range(100):
        speaker.say(f"fault {number}", Severity.WARNING, f"fault {number}", 0)
    said = [text for text in texts(speaker, *range(30)) if text]
    assert (len(said), speaker.dropped) == (16, 85)
    assert "turn left" not in said
