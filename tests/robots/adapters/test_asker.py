"""The thread that asks: every question has its reply, whatever goes wrong with it."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
import zmq

from otter_robots.adapters.asker import Asker, Reply
from otter_robots.client import Client
from otter_robots.envelope import Envelope, seal
from otter_robots.errors import UserError
from otter_robots.messages import Abstain, Answer

Said = tuple[Envelope, Answer | Abstain]
PATIENCE_S = 30.0


def replied(asker: Asker, question: str) -> Reply:
    assert asker.ask(question)
    until_s = time.monotonic() + PATIENCE_S
    while (reply := asker.reply()) is None and time.monotonic() < until_s:
        time.sleep(0.01)
    assert reply is not None
    assert reply.question == question
    return reply


@pytest.fixture
def connect(tmp_path: Path) -> Callable[[], Client]:
    """Makes clients of a bus that is not there; the first time, none."""
    tries: list[int] = []

    def connected() -> Client:
        tries.append(len(tries))
        if len(tries) == 1:
            raise OSError("no file descriptors are left")
        return Client(f"ipc://{tmp_path}/s", f"ipc://{tmp_path}/r")

    return connected


def test_an_error_that_is_not_ours_is_a_reply_and_the_next_question_has_a_new_client(
    connect: Callable[[], Client],
) -> None:
    asked: list[Client] = []

    def ask(bus: Client, question: str) -> Said:
        asked.append(bus)
        if question == "broken":
            raise zmq.ZMQError(zmq.ENOTSOCK)
        if question == "refused":
            raise UserError("nobody listens")
        abstain = Abstain(reason="black", detail="too dark")
        return seal(abstain, topic="answer", epoch="e", seq=1), abstain

    asker = Asker(connect, ask)
    assert "OSError: no file descriptors are left" in replied(asker, "one").error
    assert replied(asker, "two").said is not None
    assert replied(asker, "refused").error == "nobody listens"
    assert "ZMQError" in replied(asker, "broken").error
    assert replied(asker, "three").said is not None
    assert not asker.busy
    asker.close()
    two, refused, broken, three = asked
    assert two is refused
    assert refused is broken
    assert three is not broken
