"""What a listener makes of replies: its own, others', refusals and nonsense."""

from __future__ import annotations

import msgspec
import pytest

from otter_robots.envelope import pack, seal
from otter_robots.errors import UserError
from otter_robots.listener import IDLE_S, PAGE_TIMEOUT_S, Listener
from otter_robots.messages import Ack, Fault, Health, Message, Page
from otter_robots.recovery import OLDEST, Place
from otter_robots.topics import ANSWER, FAULT, HEALTH, STATUS, TOPICS


def reply(message: Message, to: int, *parts: bytes) -> list[bytes]:
    return [pack(seal(message, topic="reply", epoch="a", seq=1, reply_to=to)), *parts]


def fault(seq: int, journalled: bool = True) -> bytes:
    message = Fault(code="x", detail="y", journalled=journalled)
    return pack(seal(message, topic="fault", epoch="a", seq=seq))


def listening(seq: int = 7) -> Listener:
    """It asked for the faults from the oldest on, as request `seq`."""
    listener = Listener()
    listener.recover([FAULT], OLDEST)
    (history,) = listener.due(0.0)
    listener.asked(history, seq, 0.0)
    return listener


def test_a_page_is_asked_for_at_once_again_and_then_seldom() -> None:
    listener = listening()
    assert listener.due(PAGE_TIMEOUT_S / 2) == []
    assert [history.epoch for history in listener.due(PAGE_TIMEOUT_S)] == [""]
    assert listener.take(reply(Page(count=1, more=True), 7, fault(1), b""), 0.1)
    assert [(h.epoch, h.seq) for h in listener.due(0.1)] == [("a", 1)]
    listener.asked(listener.due(0.1)[0], 8, 0.1)
    assert listener.take(reply(Page(count=0), 8), 0.2)
    assert listener.wait_s(0.2) == pytest.approx(IDLE_S)


def test_on_a_replay_topic_is_only_what_says_that_it_is_one() -> None:
    listener = Listener()
    live = seal(Health(uptime_s=1.0), topic="health", epoch="a", seq=1)
    for envelope in (live, msgspec.structs.replace(live, origin="replay")):
        listener.hear([HEALTH.replayed.wire, pack(envelope), b""], 0.0)
    item = listener.give()
    assert item is not None
    assert item[0].origin == "replay"
    assert listener.give() is None
    assert listener.hostile == 1


def test_what_was_missed_is_told_once() -> None:
    listener = listening()
    listener.take(reply(Page(count=0), 7), 0.0)
    for seq in (1, 4):
        listener.hear([FAULT.wire, fault(seq), b""], 0.0)
    (history,) = listener.due(0.0)
    assert history.missed == 2
    listener.asked(history, None, 0.0)  # nobody there
    (history,) = listener.due(PAGE_TIMEOUT_S)
    assert history.missed == 2
    listener.asked(history, 9, PAGE_TIMEOUT_S)
    assert listener.due(3 * PAGE_TIMEOUT_S)[0].missed == 0


def test_a_refusal_with_a_time_is_waited_for_and_one_without_is_final() -> None:
    listener = listening()
    assert listener.take(reply(Ack(ok=False, detail="busy", retry_ms=250.0), 7), 1.0)
    assert listener.wait_s(1.0) == pytest.approx(0.25)
    with pytest.raises(UserError, match=r"history of fault: you may not"):
        listening().take(reply(Ack(ok=False, detail="you may not"), 7), 1.0)


def test_a_reply_to_something_else_is_somebody_elses() -> None:
    listener = listening()
    assert not listener.take(reply(Page(count=0), 6), 0.0)
    assert not listener.take(reply(Ack(), 5), 0.0)
    assert listener.hostile == 0


@pytest.mark.parametrize(
    "parts",
    [
        [b"nonsense"],
        reply(Page(count=2), 7, fault(1), b""),
        reply(Page(count=1), 7, b"nonsense", b""),
        reply(
            Page(count=1), 7, pack(seal(Health(uptime_s=1), topic="health", epoch="a", seq=1)), b""
        ),
        reply(Page(count=1), 7, pack(seal(Ack(), topic="fault", epoch="a", seq=1)), b""),
    ],
)
def test_a_page_that_is_none_is_counted_and_asked_for_again(parts: list[bytes]) -> None:
    listener = listening()
    assert not listener.take(parts, 0.0)
    assert listener.hostile == 1
    assert listener.give() is None
    assert len(listener.due(PAGE_TIMEOUT_S)) == 1


def test_places_are_of_what_was_given_and_journalled() -> None:
    listener = listening()
    assert listener.places == {"fault": OLDEST}
    listener.take(reply(Page(count=2), 7, fault(1), b"", fault(2), b""), 0.0)
    assert listener.give() is not None
    assert listener.places == {"fault": Place("a", 1)}
    listener.hear([FAULT.wire, fault(3, journalled=False), b""], 0.0)
    listener.give()
    listener.give()
    assert listener.places == {"fault": Place("a", 2)}


def test_what_can_be_recovered() -> None:
    listener = Listener()
    listener.recover(TOPICS.values(), OLDEST)
    assert set(listener.recoveries) == {"answer", "status", "fault", "governor", "command"}
    for topics, since in (
        ([ANSWER, HEALTH], {"health": OLDEST}),
        ([ANSWER], {"status": OLDEST}),
        ([ANSWER, STATUS], Place("a", 1)),
        ([HEALTH], Place("a", 1)),
    ):
        with pytest.raises(UserError):
            Listener().recover(topics, since)
    one = Listener()
    one.recover([ANSWER, HEALTH], Place("a", 3))
    assert one.recoveries["answer"].place == Place("a", 3)
