"""What a heard phrase leads to, without sound or bus."""

from __future__ import annotations

import pytest

from otter_runtime.audio.conversation import (
    CONFIRM_S,
    Act,
    Ask,
    Conversation,
    Heard,
    Ignore,
    Order,
    Say,
)
from otter_runtime.audio.phrases import Phrase, Phrases

PHRASES = Phrases(
    phrases=(
        Phrase(say="what now", ask="What now?"),
        Phrase(say="go home", command="home"),
        Phrase(say="find the cup", instruct="Find the cup."),
        Phrase(say="freeze", command="stop"),
    ),
    score=0.5,
    stop_score=0.3,
    yes_score=0.7,
)


@pytest.fixture
def conversation() -> Conversation:
    return Conversation(PHRASES)


def only(acts: list[Act]) -> Act:
    (act,) = acts
    return act


def sure(words: str) -> Heard:
    return Heard(words, 0.9)


def test_a_question_is_asked_at_once(conversation: Conversation) -> None:
    assert conversation.hear(sure("what now")) == [Ask("What now?")]


@pytest.mark.parametrize(("words", "named"), [("go home", "home"), ("find the cup", None)])
def test_an_order_waits_for_a_yes(conversation: Conversation, words: str, named: str) -> None:
    read_back = only(conversation.hear(sure(words)))
    assert isinstance(read_back, Say)
    assert words in read_back.text
    order = only(conversation.hear(sure("yes")))
    assert isinstance(order, Order)
    assert order.phrase.command == named
    assert isinstance(only(conversation.hear(sure("yes"))), Ignore)


def test_a_no_ends_the_waiting(conversation: Conversation) -> None:
    conversation.hear(sure("go home"))
    assert isinstance(only(conversation.hear(sure("no"))), Say)
    assert isinstance(only(conversation.hear(sure("yes"))), Ignore)


def test_while_a_yes_is_awaited_nothing_else_is_expected(conversation: Conversation) -> None:
    assert conversation.expected >= {"what now", "go home", "find the cup", "stop", "freeze"}
    assert not conversation.expected & {"yes", "no"}
    conversation.hear(sure("go home"))
    assert conversation.expected >= {"yes", "no", "stop", "freeze"}
    assert not conversation.expected & {"what now", "go home"}
    assert isinstance(only(conversation.hear(sure("what now"))), Ignore)
    assert isinstance(only(conversation.hear(sure("yes"))), Order)
    assert conversation.hear(sure("what now")) == [Ask("What now?")]


def test_no_yes_in_time_is_a_no(conversation: Conversation) -> None:
    conversation.hear(sure("go home"))
    assert conversation.wait(100.0) == []  # the time begins when it was read back
    assert conversation.wait(100.0 + CONFIRM_S - 0.1) == []
    assert isinstance(only(conversation.wait(100.0 + CONFIRM_S)), Say)
    assert conversation.wait(200.0) == []
    assert isinstance(only(conversation.hear(sure("yes"))), Ignore)


@pytest.mark.parametrize("word", ["stop", "stop now", "freeze"])
def test_a_stop_waits_for_nothing(conversation: Conversation, word: str) -> None:
    conversation.hear(sure("go home"))
    order = only(conversation.hear(Heard(word, 0.31)))
    assert isinstance(order, Order)
    assert order.phrase.command == "stop"
    assert isinstance(only(conversation.hear(sure("yes"))), Ignore)  # it took the home's place


@pytest.mark.parametrize(
    "heard",
    [
        Heard("", 1.0),
        Heard("hello", 1.0),
        Heard("what now", 0.49),
        Heard("go home", 0.49),
        Heard("stop", 0.29),
        Heard("yes", 0.9),
        Heard("no", 0.9),
    ],
)
def test_what_is_unsure_or_out_of_place_does_nothing(
    conversation: Conversation, heard: Heard
) -> None:
    assert isinstance(only(conversation.hear(heard)), Ignore)


def test_an_unsure_yes_is_no_yes_and_keeps_waiting(conversation: Conversation) -> None:
    conversation.hear(sure("go home"))
    assert isinstance(only(conversation.hear(Heard("yes", 0.6))), Ignore)
    assert isinstance(only(conversation.hear(sure("yes"))), Order)
