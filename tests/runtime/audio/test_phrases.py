"""What may be said: the defaults, files that override them, and words that are none."""

from __future__ import annotations

from pathlib import Path

import pytest

from otter_robots.errors import UserError
from otter_runtime.audio.phrases import STOPPING, Assent, Phrase, Phrases, read, spoken


def test_the_defaults_mean_one_thing_each() -> None:
    meanings = read(None).meanings()
    asked = meanings["what should i do next"]
    assert isinstance(asked, Phrase)
    assert asked.ask == "What should I do next?"
    assert not asked.confirmed
    assert meanings["stop"] is STOPPING
    assert not STOPPING.confirmed
    assert meanings["yes"] is Assent.YES
    assert meanings["no"] is Assent.NO
    orders = [one for one in meanings.values() if isinstance(one, Phrase) and one.ask is None]
    assert [one for one in orders if not one.confirmed] == [STOPPING] * 5


def test_a_file_overrides_and_keeps_the_stop(tmp_path: Path) -> None:
    path = tmp_path / "phrases.yaml"
    path.write_text(
        "phrases:\n"
        "  - {say: [Where's the cup?, 'Find - the CUP'], ask: Where is the cup?}\n"
        "  - {say: home, command: go_home, arguments: {speed: 0.5}}\n"
        "score: 0.25\n"
    )
    phrases = read(path)
    meanings = phrases.meanings()
    assert set(meanings) >= {"where's the cup", "find the cup", "home", "stop", "yes", "no"}
    home = meanings["home"]
    assert isinstance(home, Phrase)
    assert home.confirmed
    assert home.arguments == {"speed": 0.5}
    assert phrases.score == 0.25


HOSTILE = [
    "a | b",
    "a; public <b> = c",
    "<NULL>",
    "[go] home",
    "(go)+ home*",
    "go {tag} home",
    "go /0.5/ home",
    'go "home"',
    "go \\ home",
    "go = home",
    "go // home",
    "go\x00home",
    "gö home",
    "room 7",
    "'",
    "stop(2)",
    "?!",
    "\u2170",  # a Roman numeral
]


@pytest.mark.parametrize("text", HOSTILE)
def test_what_a_grammar_would_take_for_its_own_is_refused(text: str) -> None:
    with pytest.raises(UserError, match=r"cannot be listened for; write it in words"):
        spoken(text)
    with pytest.raises(UserError):
        Phrases(phrases=(Phrase(say=text, ask="?"),)).meanings()


def used(path: Path) -> None:
    phrases = read(path)
    phrases.meanings()
    phrases.sounds()


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("phrases: [{say: hello}]", "has 0 meanings"),
        ("phrases: [{say: hello, ask: a, command: b}]", "has 2 meanings"),
        ("phrases: [{say: hello, ask: a}, {say: Hello!, ask: b}]", "is there twice"),
        ("phrases: [{say: stop, ask: a}]", "is there twice"),
        ("phrases: [{say: [], ask: a}]", "length"),
        ("phrases: [{says: hello, ask: a}]", "did you mean"),
        ("agree: [yes]", "got `bool`"),
        ("stop: []", "length"),
        ("score: 2", "<= 1.0"),
        ("pronunciations: {otto: AA T OOH}", "the pronunciation otto"),
        ("pronunciations: {otto: ''}", "the pronunciation otto"),
        ("pronunciations: {'ot|to': AA}", "the pronunciation ot"),
        ("phrases: 3", "phrases.yaml"),
        ("[", "is not YAML"),
    ],
)
def test_a_file_that_cannot_be_used_is_a_sentence(tmp_path: Path, text: str, named: str) -> None:
    path = tmp_path / "phrases.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=named):
        used(path)
