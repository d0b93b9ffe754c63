"""A robot's end of the bus on an event loop: what `client` does, awaited.

    async with Client() as bus:
        reply = await bus.ask("What should I do next?")

For one loop and as many tasks as there are; a task that is cancelled loses no message. How it waits
is `loop_connection`'s to know.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence

from otter_robots.connection import (
    ACK_TIMEOUT_S,
    ORDER_TTL_MS,
    PIN_TIMEOUT_S,
    STAMPS,
    STOP_TTL_MS,
)
from otter_robots.envelope import Envelope
from otter_robots.errors import NoAnswer, RequestRefused
from otter_robots.listener import Since, snapshot_items
from otter_robots.loop_connection import LoopConnection
from otter_robots.messages import (
    RESUME,
    STOP,
    Abstain,
    Ack,
    Answer,
    Argument,
    Cancel,
    Command,
    Exemplar,
    Forget,
    Instruct,
    Message,
    Order,
    Page,
    Picture,
    Snapshot,
    When,
)
from otter_robots.recovery import OLDEST as OLDEST
from otter_robots.recovery import Place as Place
from otter_robots.skill import Offer
from otter_robots.skills import Registry, offered
from otter_robots.topics import Topic


class Client(LoopConnection):
    """One connection to one runtime; connecting succeeds whether or not it runs already.

    `key` and what is raised are as for `client.Client`; RuntimeError outside of a running event
    loop.
    """

    # The stream.

    def messages(
        self,
        topics: Iterable[Topic] | None = None,
        timeout_s: float | None = None,
        *,
        since: Since | None = None,
    ) -> AsyncIterator[tuple[Envelope, Message]]:
        """What is published from now on, in order, without duplicates: `async for` over it.

        Subscribes at the call, not at the first item. Ends after `timeout_s` of silence, or when
        the client is closed. `since` is as for `client.Client.messages`.
        """
        self._follow(topics, since)
        return self._messages(timeout_s)

    async def _messages(self, timeout_s: float | None) -> AsyncIterator[tuple[Envelope, Message]]:
        while (item := await self.receive(timeout_s)) is not None:
            yield item

    # Requests.

    async def ask(
        self,
        text: str,
        timeout_s: float = 30.0,
        *,
        deadline_ms: int | None = None,
        priority: int = 0,
        frame: int | None = None,
        skills: Registry | Offer | None = None,
        conversation: str = "",
    ) -> Answer | Abstain:
        """Ask about what the camera sees now and wait for the answer, or why there is none.

        `frame` is the number of a picture that was pushed: the answer is about it or a later one.
        With `skills` the answer is one of them, and its `choices` are all, ranked. What was asked
        and answered in the same `conversation` before stands in front of it.
        Raises NobodyListening when no runtime takes the question, NoAnswer when one did and stays
        silent for `timeout_s`. Where the waiting is cancelled, so is the question.
        """
        _, reply = await self.ask_sealed(
            text,
            timeout_s,
            deadline_ms=deadline_ms,
            priority=priority,
            frame=frame,
            skills=skills,
            conversation=conversation,
        )
        return reply

    async def ask_sealed(
        self,
        text: str,
        timeout_s: float = 30.0,
        *,
        deadline_ms: int | None = None,
        priority: int = 0,
        frame: int | None = None,
        skills: Registry | Offer | None = None,
        conversation: str = "",
    ) -> tuple[Envelope, Answer | Abstain]:
        """`ask`, with the reply's envelope."""
        question = self._question(text, deadline_ms, priority, frame, skills, conversation)
        deadline_s = time.monotonic() + timeout_s
        try:
            async with self._request(question, Ack) as (seq, _):
                reply = await self._reply(seq, deadline_s, Answer, Abstain)
        except asyncio.CancelledError:
            self._forget(question.id)
            raise
        if reply is None:
            raise NoAnswer(question.id, timeout_s)
        assert isinstance(reply.message, (Answer, Abstain))
        return reply.envelope, reply.message

    async def push(self, picture: Picture, blob: bytes) -> None:
        """Push a frame of the robot's own camera: `blob` is the file that `picture` describes.

        Returns when the runtime has judged it. Raises UserError with its sentence where it refuses
        the frame or the frame is larger than the bus takes, NobodyListening.
        """
        self._check_size(blob)
        async with self._request(picture, Ack, blob):
            pass

    async def instruct(
        self,
        text: str,
        interval_s: float,
        ttl_ms: float = ORDER_TTL_MS,
        *,
        skills: Registry | Offer | None = None,
        when: When | None = None,
    ) -> None:
        """Replace the standing instruction; raises NobodyListening or RequestRefused."""
        offer = offered(skills)
        order = Instruct(text=text, interval_s=interval_s, skills=offer, when=when)
        await self._order(order, ttl_ms)

    async def command(
        self,
        name: str,
        arguments: Mapping[str, Argument] | None = None,
        ttl_ms: float = ORDER_TTL_MS,
    ) -> None:
        """Tell every robot on topic `command`, past the model; robots were told once this returns.

        Raises NobodyListening, and then the order is carried out within `ttl_ms` or never, or
        RequestRefused.
        """
        await self._order(Command(name=name, arguments=dict(arguments or {})), ttl_ms)

    async def stop(self) -> None:
        """The emergency stop, `command("stop")`; every robot halts by its own guard."""
        await self.command(STOP, ttl_ms=STOP_TTL_MS)

    async def resume(self) -> None:
        """End a stop."""
        await self.command(RESUME)

    async def pin(
        self, exemplar: Exemplar, blobs: Sequence[bytes], timeout_s: float = PIN_TIMEOUT_S
    ) -> None:
        """Show the model how to answer, from now on: `blobs` are the files of `exemplar.images`.

        Returns when the model has taken it. Raises RequestRefused with its sentence where it does
        not, NobodyListening, UserError for a picture larger than the bus takes.
        """
        self._check_size(*blobs)
        await self._order(exemplar, timeout_s * 1000, *blobs, ack_s=timeout_s)

    async def forget(self, exemplar_id: str = "", ttl_ms: float = ORDER_TTL_MS) -> None:
        """Take an exemplar back, or all of them; raises NobodyListening or RequestRefused."""
        await self._order(Forget(id=exemplar_id), ttl_ms)

    async def cancel(self, question_id: str) -> None:
        """Drop a question that was not answered yet; raises NobodyListening."""
        async with self._request(Cancel(question_id=question_id), Ack):
            pass

    async def snapshot(self) -> dict[str, tuple[Envelope, Message]]:
        """The latest message of every topic in this run of the runtime, by topic.

        Raises NobodyListening.
        """
        async with self._request(Snapshot(), Page) as (_, page):
            items = snapshot_items(page.parts)
        return {envelope.topic: (envelope, message) for envelope, message in items}

    async def _order(
        self, order: Order, ttl_ms: float, *blobs: bytes, ack_s: float = ACK_TIMEOUT_S
    ) -> None:
        for left in reversed(range(STAMPS)):
            try:
                async with self._request(self._stamped(order, ttl_ms), Ack, *blobs, ack_s=ack_s):
                    return
            except RequestRefused as refusal:
                if not left or not refusal.outdated:
                    raise

    def _forget(self, question_id: str) -> None:
        """Tell the runtime that nobody waits any more, if it is there to be told."""
        if not self._closed:
            self._send([self._sealed(Cancel(question_id=question_id))])
