"""A robot's end of the bus on an event loop: what `client` does, awaited.

    async with Client() as bus:
        reply = await bus.ask("What should I do next?")

For one loop and as many tasks as there are. What arrives is read by callbacks of the loop and no
task of its own, so a task that is cancelled takes nothing with it: a message is given out or it is
still there. It knows how to wait; what it waits for stands in `connection` and `listener`.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import zmq

from otter_robots.connection import (
    ACK_TIMEOUT_S,
    ORDER_TTL_MS,
    PIN_TIMEOUT_S,
    RECEIVE_HIGH_WATER,
    STAMPS,
    STOP_TTL_MS,
    Connection,
    Reply,
)
from otter_robots.envelope import Envelope
from otter_robots.errors import NoAnswer, OtterError, RequestRefused
from otter_robots.listener import Since, snapshot_items
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

# So many messages are read before other callbacks of the loop get their turn.
TURN_MESSAGES = 100

Found = TypeVar("Found")


class Client(Connection):
    """One connection to one runtime; connecting succeeds whether or not it runs already.

    `key` and what is raised are as for `client.Client`; RuntimeError outside of a running event
    loop.
    """

    def __init__(
        self,
        stream: str | None = None,
        requests: str | None = None,
        name: str = "",
        key: Path | str | None = None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        super().__init__(stream, requests, name, key)
        self._came = asyncio.Event()
        self._waiting: dict[int, deque[Reply]] = {}  # replies by the seq of their request
        self._refusal: OtterError | None = None
        self._writable = self._closed = False
        self._descriptors = [
            int(socket.fd) for socket in (self._sub, self._dealer, *self._refusals)
        ]
        for descriptor in self._descriptors:
            self._loop.add_reader(descriptor, self._turn)
        self._next: asyncio.Handle = self._loop.call_soon(self._turn)

    # What the loop calls.

    def _turn(self) -> None:
        """Ask for the pages that are due, read what came, wake whoever waits."""
        self._next.cancel()
        if self._closed:
            return
        now_s = time.monotonic()
        wait_s: float | None = None
        try:
            if self._roomy:
                self._ask_for_pages()
            wait_s = 0.0 if self._read() else self._listener.wait_s(now_s)
            self._check_welcome()
        except OtterError as error:
            self._refusal = error
        self._writable = bool(_events(self._dealer) & zmq.POLLOUT)
        if wait_s is not None and self._roomy:
            self._next = self._loop.call_later(wait_s, self._turn)
        self._came.set()

    def _read(self) -> bool:
        """Some of what came; whether there may be more.

        A descriptor of libzmq tells of changes only: it is read until there is nothing left, and
        looked at again after every call that may have taken the news (`_soon`).
        """
        for _ in range(TURN_MESSAGES):
            if _events(self._dealer) & zmq.POLLIN:
                self._hand_out(self._take())
            elif self._roomy and _events(self._sub) & zmq.POLLIN:
                self._hear()
            else:
                return False
        return True

    @property
    def _roomy(self) -> bool:
        """Whether as much is waiting to be received as may; the rest waits in libzmq's queue."""
        return self._listener.ready < RECEIVE_HIGH_WATER

    def _hand_out(self, reply: Reply | None) -> None:
        to = reply.envelope.reply_to if reply else None
        if reply is not None and to in self._waiting:
            self._waiting[to].append(reply)

    def _soon(self) -> None:
        self._next.cancel()
        self._next = self._loop.call_soon(self._turn)

    # The stream.

    def subscribe(self, topics: Iterable[Topic] | None = None) -> None:
        """Ask for these topics (all of the table by default), from now on."""
        super().subscribe(topics)
        self._soon()

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

    async def receive(self, timeout_s: float | None = None) -> tuple[Envelope, Message] | None:
        """The next message of the subscribed topics, or None after `timeout_s` without one."""
        deadline_s = None if timeout_s is None else time.monotonic() + timeout_s
        return await self._until(self._given, deadline_s)

    def _given(self) -> tuple[Envelope, Message] | None:
        refusal, self._refusal = self._refusal, None
        if refusal is not None:
            self._soon()
            raise refusal
        if not self._roomy:
            self._soon()
        return self._listener.give()

    async def _until(
        self, found: Callable[[], Found | None], deadline_s: float | None
    ) -> Found | None:
        """What `found` finds, as soon as it does; None past the deadline, or when closed.

        Nothing is awaited between finding and returning, so a cancellation loses nothing.
        """
        while (result := found()) is None and not self._closed:
            left_s = None if deadline_s is None else deadline_s - time.monotonic()
            if left_s is not None and left_s <= 0:
                return None
            self._came.clear()
            timer = None if left_s is None else self._loop.call_later(left_s, self._came.set)
            try:
                await self._came.wait()
            finally:
                if timer is not None:
                    timer.cancel()
        return result

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

    @contextlib.asynccontextmanager
    async def _request(
        self,
        message: Message,
        first: type[Message],
        *blobs: bytes,
        ack_s: float = ACK_TIMEOUT_S,
    ) -> AsyncIterator[tuple[int, Reply]]:
        """Send and wait for the first reply; gives the request's seq and that reply.

        Further replies are kept as long as the context is open. Raises NobodyListening.
        """
        deadline_s = time.monotonic() + ack_s
        parts, seq = [self._sealed(message), *blobs], self._seq
        self._waiting[seq] = deque()
        try:
            sent = await self._until(lambda: self._send(parts), deadline_s)
            reply = await self._reply(seq, deadline_s, first) if sent else None
            if reply is None:
                raise self._nobody(ack_s)
            yield seq, reply
        finally:
            del self._waiting[seq]

    def _send(self, parts: list[bytes]) -> bool | None:
        """True once it is sent; None while there is no connection that stands."""
        if not self._writable:
            return None
        self._soon()
        try:
            self._dealer.send_multipart(parts, zmq.NOBLOCK)
        except zmq.Again:
            self._writable = False
            return None
        return True

    async def _reply(self, seq: int, deadline_s: float, *kinds: type[Message]) -> Reply | None:
        """The first reply of these kinds to this request; None past the deadline."""
        return await self._until(lambda: self._replied(seq, kinds), deadline_s)

    def _replied(self, seq: int, kinds: tuple[type[Message], ...]) -> Reply | None:
        replies = self._waiting[seq]
        while replies:
            reply = replies.popleft()
            if reply.answers(seq, kinds):
                return reply
        return None

    def _forget(self, question_id: str) -> None:
        """Tell the runtime that nobody waits any more, if it is there to be told."""
        if not self._closed:
            self._send([self._sealed(Cancel(question_id=question_id))])

    # The end.

    def close(self) -> None:
        """Disconnect; a request that nobody took is dropped, and whoever waits waits no longer."""
        if self._closed:
            return
        self._closed, self._writable = True, False
        self._next.cancel()
        self._came.set()
        for descriptor in self._descriptors:
            self._loop.remove_reader(descriptor)
        self._disconnect()

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()


def _events(socket: zmq.Socket[bytes]) -> int:
    """What can be done with a socket now; asking is what makes libzmq see what came."""
    return int(socket.getsockopt(zmq.EVENTS))
