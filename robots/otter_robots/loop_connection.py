"""A connection on an event loop: reads what came as it comes, and wakes whoever waits for it.

For one loop and as many tasks as there are. What arrives is read by callbacks of the loop and no
task of its own, so a task that is cancelled takes nothing with it: a message is given out or it is
still there. It knows how to wait, not what is asked: that is `aio`'s.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path
from typing import TypeVar

import zmq

from otter_robots.connection import ACK_TIMEOUT_S, RECEIVE_HIGH_WATER, Connection, Reply
from otter_robots.envelope import Envelope
from otter_robots.errors import OtterError
from otter_robots.messages import Message
from otter_robots.topics import Topic

# So many messages are read before other callbacks of the loop get their turn.
TURN_MESSAGES = 100

Found = TypeVar("Found")
Me = TypeVar("Me", bound="LoopConnection")


class LoopConnection(Connection):
    """One connection to one runtime; RuntimeError outside of a running event loop."""

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
        events = _events(self._dealer)
        self._writable = bool(events & zmq.POLLOUT)
        if events & zmq.POLLIN:  # it came after the reading, and was just told of for the last time
            self._soon()
        elif wait_s is not None and self._roomy:
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

    async def __aenter__(self: Me) -> Me:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()


def _events(socket: zmq.Socket[bytes]) -> int:
    """What can be done with a socket now; asking is what makes libzmq see what came."""
    return int(socket.getsockopt(zmq.EVENTS))
