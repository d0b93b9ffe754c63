"""Front and brain: messages over a real socket pair, frames in real shared memory."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import numpy as np
import pytest

from otter_runtime.errors import UserError
from otter_runtime.slots import SLOTS, Slots
from otter_runtime.wire import Alive, Ask, Channel, Drop, Event, Hung, Order, Piece

Pair = tuple[Channel, Channel]


@pytest.fixture
def pair() -> Iterator[Pair]:
    left, right = socket.socketpair()
    front, brain = Channel(left, Event, 0.1), Channel(right, Order)
    yield front, brain
    front.close()
    brain.close()


def test_messages_arrive_whole_and_in_order(pair: Pair) -> None:
    front, brain = pair
    orders = [Ask(id=str(number), text="?" * number) for number in range(150)]
    for order in orders:
        front.send(order)
    front.send(Drop("7"))
    received = brain.receive(1.0)
    while len(received) < 151:
        received += brain.receive(1.0)
    assert received == [*orders, Drop("7")]
    assert brain.receive(0.0) == []


def test_a_message_in_pieces_waits_for_its_rest() -> None:
    left, right = socket.socketpair()
    brain = Channel(right, Order)
    front = Channel(left, Event)
    front.send(Ask(id="whole", text="x" * 300))
    data = right.recv(10)  # steal the head, then send all of it again, byte by byte
    rest = right.recv(1000)
    for byte in data + rest:
        left.send(bytes([byte]))
        received = brain.receive(0.0)
    assert [order.id for order in received] == ["whole"]
    left.close()
    brain.receive(1.0)
    assert brain.closed
    brain.close()


def test_an_end_that_does_not_read_is_noticed(pair: Pair) -> None:
    front, brain = pair
    with pytest.raises(Hung):
        flood(front)
    assert brain.receive(0.0)


def test_a_message_that_was_begun_is_finished(pair: Pair) -> None:
    """An end that slept for longer than the other's patience finds nothing cut off."""
    front, brain = pair
    large = Ask(id="large", text="x" * 4_000_000)
    front.send(large)  # more than a socket holds: it took the beginning
    with pytest.raises(Hung):
        front.send(Drop("not taken"))
    received = []
    for _ in range(10_000):
        received += brain.receive(0.0)
        if received:
            break
        front.receive(0.0)  # as the front does every turn
    assert received == [large]
    front.send(Drop("taken"))
    assert brain.receive(1.0) == [Drop("taken")]


def flood(channel: Channel) -> None:
    for _ in range(10_000):
        channel.send(Ask(id="1", text="x" * 4000))


def test_both_ends_speak(pair: Pair) -> None:
    front, brain = pair
    brain.send(Piece("1", 0, "Turn"))
    brain.send(Alive(1.0))
    assert front.receive(1.0) == [Piece("1", 0, "Turn"), Alive(1.0)]


def test_frames_are_shared_and_slots_given_back() -> None:
    front = Slots()
    brain = Slots(os.dup(front.descriptor))
    random = np.random.default_rng(0)
    pictures = [random.integers(0, 255, (48, 64, 3), dtype=np.uint8) for _ in range(SLOTS)]
    slots = [front.put(picture) for picture in pictures]
    assert sorted(slot for slot in slots if slot is not None) == list(range(SLOTS))
    assert front.put(pictures[0]) is None
    for slot, picture in zip(slots, pictures, strict=True):
        assert slot is not None
        assert np.array_equal(brain.view(slot, 48, 64), picture)
    front.release(2)
    assert front.put(pictures[0]) == 2
    front.release_all()
    assert front.put(pictures[0]) is not None
    brain.close()
    front.close()


def test_a_frame_that_is_too_large_is_refused() -> None:
    slots = Slots()
    huge = np.broadcast_to(np.uint8(1), (5000, 8000, 3))
    with pytest.raises(UserError, match="8000x5000 is larger"):
        slots.put(huge)
    slots.close()
