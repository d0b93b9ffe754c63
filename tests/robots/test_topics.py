"""The table of topics."""

from __future__ import annotations

import itertools

import pytest

from otter_robots import topics
from otter_robots.errors import UserError
from otter_robots.messages import MESSAGES, Command


def test_no_subscription_matches_another_topic() -> None:
    for one, other in itertools.permutations(topics.TOPICS.values(), 2):
        assert not other.wire.startswith(one.wire)
    assert not b"robot10/1/".startswith(topics.Topic("robot1", (), None, False, "").wire)


def test_a_replay_is_on_topics_of_its_own() -> None:
    live = [topic.wire for topic in topics.TOPICS.values()]
    for topic in topics.TOPICS.values():
        assert topic.replayed.wire == b"replay/" + topic.wire
        assert not any(topic.replayed.wire.startswith(wire) for wire in live)


def test_a_message_says_whether_it_was_journalled() -> None:
    for topic in topics.TOPICS.values():
        for message in topic.messages:
            assert ("journalled" in message.__struct_fields__) == topic.journalled


def test_every_message_travels_once() -> None:
    used = [message for topic in topics.TOPICS.values() for message in topic.messages]
    used += topics.REQUESTS
    used.remove(Command)  # asked for by one, told to all
    assert len(used) == len(set(used))
    assert set(used) <= set(MESSAGES)


def test_an_unknown_topic_names_the_nearest() -> None:
    assert topics.find("answer") is topics.ANSWER
    with pytest.raises(UserError, match="did you mean answer"):
        topics.find("anwser")
    with pytest.raises(UserError, match="the topics are answer, delta"):
        topics.find("zzz")
