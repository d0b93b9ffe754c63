"""The client of an event loop, against a publisher in a process of its own."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from otter_robots import aio, loop_connection
from otter_robots import client as client_module
from otter_robots.aio import OLDEST, Client, Place
from otter_robots.envelope import Envelope, unpack
from otter_robots.errors import AddressRefused, NoAnswer, NobodyListening, UserError
from otter_robots.messages import Answer, Lost, Message
from otter_robots.topics import ANSWER, HEALTH
from otter_runtime.journal import Journal

PATIENCE_S = 20.0


def client(publisher: Any) -> Client:
    return Client(publisher.stream, publisher.requests)


async def hear(bus: Client, count: int) -> list[tuple[Envelope, Message]]:
    heard = []
    for _ in range(count):
        one = await bus.receive(PATIENCE_S)
        assert one is not None, "the publisher is silent"
        heard.append(one)
    return heard


def places(heard: list[tuple[Envelope, Message]]) -> list[Place]:
    return [Place(envelope.epoch, envelope.seq) for envelope, _ in heard]


def journalled(path: Path) -> list[Place]:
    journal = Journal(path)
    rows = [unpack(row.envelope) for row in journal.after("answer") if row.envelope]
    journal.close()
    return places(rows)


def test_it_hears_asks_instructs_and_cancels(publish: Any) -> None:
    async def robot(bus: Client) -> None:
        bus.subscribe()
        heard = await hear(bus, 40)
        reply = await bus.ask("Where is the cup?", PATIENCE_S)
        assert isinstance(reply, Answer)
        assert (reply.text, reply.journalled) == ("Where is the cup?", True)
        await bus.instruct("go", 2.5)
        await bus.cancel("q7")
        await bus.stop()
        texts: set[str] = set()
        while not {"go every 2.5 s", "cancelled q7"} <= texts:
            texts |= {m.text for _, m in await hear(bus, 1) if isinstance(m, Answer)}
        assert set(await bus.snapshot()) == {"answer", "health", "command"}
        assert bus.alive()
        assert bus.gaps == {"answer": 0, "health": 0, "command": 0}
        assert bus.hostile == 0
        for topic in (ANSWER, HEALTH):
            seqs = [envelope.seq for envelope, _ in heard if envelope.topic == topic.name]
            assert seqs == list(range(seqs[0], seqs[0] + len(seqs)))

    with publish() as publisher:
        asyncio.run(within(client, publisher, robot))


async def within(
    make: Callable[[Any], Client], publisher: Any, robot: Callable[[Client], Awaitable[None]]
) -> None:
    async with make(publisher) as bus:
        await robot(bus)


def test_both_clients_have_one_vocabulary() -> None:
    public = {name for name in dir(aio.Client) if not name.startswith("_")}
    assert public == {name for name in dir(client_module.Client) if not name.startswith("_")}
    for name in (*public, "__init__"):
        one, other = getattr(aio.Client, name), getattr(client_module.Client, name)
        if callable(one):
            assert inspect.signature(one).parameters == inspect.signature(other).parameters, name


def test_many_tasks_ask_while_another_listens(publish: Any) -> None:
    async def robot(bus: Client) -> None:
        heard: list[str] = []

        async def listen() -> None:
            async for _, message in bus.messages([ANSWER], since={"answer": None}):
                heard.append(message.text)  # type: ignore[attr-defined]

        listening = asyncio.create_task(listen())
        questions = [f"question {number}" for number in range(50)]
        replies = await asyncio.gather(*(bus.ask(text, PATIENCE_S) for text in questions))
        assert [reply.text for reply in replies if isinstance(reply, Answer)] == questions
        # What was asked before the subscription arrived was published to nobody.
        until_s = time.monotonic() + PATIENCE_S
        while questions[-1] not in heard and time.monotonic() < until_s:
            await asyncio.sleep(0.05)
        assert questions[-1] in heard
        listening.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await listening

    with publish() as publisher:
        asyncio.run(within(client, publisher, robot))


def test_a_cancelled_question_is_taken_back_and_the_next_one_answered(publish: Any) -> None:
    async def robot(bus: Client) -> None:
        bus.subscribe([ANSWER])
        await hear(bus, 1)
        asking = asyncio.create_task(bus.ask("silence", PATIENCE_S))
        await asyncio.sleep(0.2)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        text = ""
        while not text.startswith("cancelled "):
            ((_, message),) = await hear(bus, 1)
            assert isinstance(message, Answer)
            text = message.text
        assert bus._waiting == {}
        assert isinstance(await bus.ask("again", PATIENCE_S), Answer)

    with publish() as publisher:
        asyncio.run(within(client, publisher, robot))


def test_a_receive_that_is_cancelled_takes_nothing_with_it(publish: Any) -> None:
    async def robot(bus: Client) -> None:
        bus.messages([ANSWER], since=OLDEST)
        heard: list[tuple[Envelope, Message]] = []
        for round in range(200):
            receiving = asyncio.create_task(bus.receive())
            await asyncio.sleep(0.0005 * (round % 5))
            receiving.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                one = await receiving
                assert one is not None
                heard.append(one)
        heard += await hear(bus, 20)
        assert [place.seq for place in places(heard)] == list(range(1, len(heard) + 1))
        assert len(heard) > 20
        assert bus.lost == {"answer": 0}

    with publish("--every-ms", "1") as publisher:
        asyncio.run(within(client, publisher, robot))


def test_whoever_reads_slowly_holds_memory_down_and_recovers(
    publish: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop_connection, "RECEIVE_HIGH_WATER", 50)

    async def robot(bus: Client) -> None:
        bus.messages([ANSWER], since=OLDEST)
        heard = await hear(bus, 1)
        most = 0
        for _ in range(20):
            await asyncio.sleep(0.05)  # the loop runs, the robot does not receive
            most = max(most, bus._listener.ready)
        assert most <= 50 + 256  # a page more than the limit
        heard += await hear(bus, 700)
        assert [place.seq for place in places(heard)] == list(range(1, 702))

    with publish("--every-ms", "0") as publisher:
        asyncio.run(within(client, publisher, robot))


def test_kill_9_of_the_publisher_again_and_again(publish: Any) -> None:
    async def robot() -> tuple[list[Place], Path]:
        heard: list[Place] = []
        bus = None
        for round in range(4):
            with publish("--every-ms", "0") as publisher:
                bus = bus or client(publisher)
                if round == 0:
                    bus.messages([ANSWER], since=OLDEST)
                heard += places(await hear(bus, 20 + 40 * round))
                while len({place.epoch for place in heard}) <= round:
                    heard += places(await hear(bus, 1))
                publisher.kill()
        assert bus is not None
        with publish("--ticks", "0") as publisher:
            while (one := await bus.receive(1.5)) is not None:
                assert not isinstance(one[1], Lost)
                heard += places([one])
        assert bus.lost == {"answer": 0}
        bus.close()
        return heard, publisher.journal

    heard, journal = asyncio.run(robot())
    assert heard == journalled(journal)


def test_silence_nobody_and_no_answer(publish: Any, tmp_path: Path) -> None:
    async def robot() -> None:
        endpoints = (f"ipc://{tmp_path}/s", f"ipc://{tmp_path}/r")
        async with Client(*endpoints) as bus:
            assert [item async for item in bus.messages(timeout_s=0.05)] == []
            with pytest.raises(NobodyListening, match="/r"):
                await bus.ask("too early", PATIENCE_S)
            with publish():
                assert isinstance(await bus.ask("in time", PATIENCE_S), Answer)
                with pytest.raises(NoAnswer):
                    await bus.ask("silence", 0.2)
                with pytest.raises(UserError, match="would refuse"):
                    await bus.ask("", PATIENCE_S)
                await hear(bus, 1)

    asyncio.run(robot())


def test_questions_are_answered_after_a_restart(publish: Any) -> None:
    async def robot() -> None:
        with publish() as first:
            bus = client(first)
            assert isinstance(await bus.ask("before", PATIENCE_S), Answer)
            first.kill()
        with publish():
            assert isinstance(await bus.ask("after", PATIENCE_S), Answer)
        bus.close()

    asyncio.run(robot())


def test_an_answer_that_comes_while_others_are_read_is_seen(
    publish: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # After what came was read, and before the socket is asked whether it may be written to.
    monkeypatch.setattr(Client, "_check_welcome", lambda bus: time.sleep(0.05))

    async def robot(bus: Client) -> None:
        for number in range(5):
            assert isinstance(await bus.ask(f"question {number}", PATIENCE_S), Answer)

    with publish() as publisher:
        asyncio.run(within(client, publisher, robot))


def test_closing_ends_whoever_waits(publish: Any) -> None:
    async def robot(bus: Client) -> None:
        async def listen() -> int:
            return len([item async for item in bus.messages([HEALTH])])

        listening = asyncio.create_task(listen())
        asking = asyncio.create_task(bus.ask("silence", PATIENCE_S))
        await asyncio.sleep(0.3)
        bus.close()
        assert await listening > 0
        with pytest.raises(NoAnswer):
            await asking

    with publish() as publisher:
        asyncio.run(within(client, publisher, robot))


def test_an_address_it_may_not_use() -> None:
    async def robot() -> None:
        with pytest.raises(AddressRefused):
            Client("tcp://192.0.2.1:5555")

    asyncio.run(robot())
