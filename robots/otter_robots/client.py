"""A robot's end of the bus: hear what is published, ask, and know what was missed.

    with Client() as bus:
        reply = bus.ask("What should I do next?")

Synchronous and for one thread; `aio` is its twin for an event loop. With `since` the holes of the
stream are filled from the runtime's journal.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import ceil
from pathlib import Path

import zmq

from otter_robots.connection import (
    ACK_TIMEOUT_S,
    ORDER_TTL_MS,
    PIN_TIMEOUT_S,
    STAMPS,
    STOP_TTL_MS,
    Connection,
    Reply,
)
from otter_robots.envelope import Envelope
from otter_robots.errors import NoAnswer, RequestRefused
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


class Client(Connection):
    """One connection to one runtime; connecting succeeds whether or not it runs already.

    `key` is the file that `otter-edge keys make` wrote on the device, for tcp endpoints of a
    runtime that has keys. Raises AddressRefused for an endpoint beyond this machine without a key,
    and KeyFileRefused. Where the runtime does not know the key, whatever waits raises KeyRefused.
    """

    def __init__(
        self,
        stream: str | None = None,
        requests: str | None = None,
        name: str = "",
        key: Path | str | None = None,
    ) -> None:
        super().__init__(stream, requests, name, key)
        self._poller = zmq.Poller()
        self._poller.register(self._sub, zmq.POLLIN)
        self._poller.register(self._dealer, zmq.POLLIN)
        for refusals in self._refusals:
            self._poller.register(refusals, zmq.POLLIN)

    # The stream.

    def messages(
        self,
        topics: Iterable[Topic] | None = None,
        timeout_s: float | None = None,
        *,
        since: Since | None = None,
    ) -> Iterator[tuple[Envelope, Message]]:
        """What is published from now on, in order, without duplicates.

        Subscribes at the call, not at the first item. Ends after `timeout_s` of silence; None
        waits for ever.

        `since` asks for journalled topics without holes: every message after a place, once, from
        the runtime's journal where the stream did not bring it, across restarts of both sides. It
        is `OLDEST`, for everything kept, a `Place`, where there is one journalled topic, or a
        mapping of topic names to places such as an earlier client's `places`; None in it means
        from the first one heard. What is gone for good is a `Lost` in its place. A message that
        has to wait for what comes before it may be late: look at its age.
        """
        self._follow(topics, since)
        return iter(lambda: self.receive(timeout_s), None)

    def receive(self, timeout_s: float | None = None) -> tuple[Envelope, Message] | None:
        """The next message of the subscribed topics, or None after `timeout_s` without one."""
        deadline_s = None if timeout_s is None else time.monotonic() + timeout_s
        while (item := self._listener.give()) is None:
            self._check_welcome()
            self._ask_for_pages()
            came = dict(self._poller.poll(self._patience_ms(deadline_s)))
            if self._sub in came:
                self._hear()
            if self._dealer in came:
                self._take()
            if not came and deadline_s is not None and time.monotonic() >= deadline_s:
                return None
        return item

    def _patience_ms(self, deadline_s: float | None) -> int | None:
        now_s = time.monotonic()
        waits_s = [self._listener.wait_s(now_s), None if deadline_s is None else deadline_s - now_s]
        given = [wait_s for wait_s in waits_s if wait_s is not None]
        return max(0, ceil(min(given) * 1000)) if given else None

    # Requests.

    def ask(
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
        silent for `timeout_s`.
        """
        return self.ask_sealed(
            text,
            timeout_s,
            deadline_ms=deadline_ms,
            priority=priority,
            frame=frame,
            skills=skills,
            conversation=conversation,
        )[1]

    def ask_sealed(
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
        seq = self._request(question)
        reply = self._reply(seq, deadline_s, Answer, Abstain)
        if reply is None:
            raise NoAnswer(question.id, timeout_s)
        assert isinstance(reply.message, (Answer, Abstain))
        return reply.envelope, reply.message

    def push(self, picture: Picture, blob: bytes) -> None:
        """Push a frame of the robot's own camera: `blob` is the file that `picture` describes.

        Returns when the runtime has judged it. Raises UserError with its sentence where it refuses
        the frame or the frame is larger than the bus takes, NobodyListening.
        """
        self._check_size(blob)
        self._request(picture, blob)

    def instruct(
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
        self._order(order, ttl_ms)

    def command(
        self,
        name: str,
        arguments: Mapping[str, Argument] | None = None,
        ttl_ms: float = ORDER_TTL_MS,
    ) -> None:
        """Tell every robot on topic `command`, past the model; robots were told once this returns.

        Raises NobodyListening, and then the order is carried out within `ttl_ms` or never, or
        RequestRefused.
        """
        self._order(Command(name=name, arguments=dict(arguments or {})), ttl_ms)

    def stop(self) -> None:
        """The emergency stop, `command("stop")`; every robot halts by its own guard."""
        self.command(STOP, ttl_ms=STOP_TTL_MS)

    def resume(self) -> None:
        """End a stop."""
        self.command(RESUME)

    def pin(
        self, exemplar: Exemplar, blobs: Sequence[bytes], timeout_s: float = PIN_TIMEOUT_S
    ) -> None:
        """Show the model how to answer, from now on: `blobs` are the files of `exemplar.images`.

        Returns when the model has taken it. Raises RequestRefused with its sentence where it does
        not, NobodyListening, UserError for a picture larger than the bus takes.
        """
        self._check_size(*blobs)
        self._order(exemplar, timeout_s * 1000, *blobs, ack_s=timeout_s)

    def forget(self, exemplar_id: str = "", ttl_ms: float = ORDER_TTL_MS) -> None:
        """Take an exemplar back, or all of them; raises NobodyListening or RequestRefused."""
        self._order(Forget(id=exemplar_id), ttl_ms)

    def cancel(self, question_id: str) -> None:
        """Drop a question that was not answered yet; raises NobodyListening."""
        self._request(Cancel(question_id=question_id))

    def snapshot(self) -> dict[str, tuple[Envelope, Message]]:
        """The latest message of every topic in this run of the runtime, by topic.

        Raises NobodyListening.
        """
        deadline_s = time.monotonic() + ACK_TIMEOUT_S
        seq = self._send(Snapshot(), deadline_s)
        reply = self._reply(seq, deadline_s, Page)
        if reply is None:
            raise self._nobody()
        items = snapshot_items(reply.parts)
        return {envelope.topic: (envelope, message) for envelope, message in items}

    def _request(self, message: Message, *blobs: bytes, ack_s: float = ACK_TIMEOUT_S) -> int:
        """Send, wait for the acknowledgement, and give the request's seq."""
        deadline_s = time.monotonic() + ack_s
        seq = self._send(message, deadline_s, *blobs)
        if self._reply(seq, deadline_s, Ack) is None:
            raise self._nobody(ack_s)
        return seq

    def _order(
        self, order: Order, ttl_ms: float, *blobs: bytes, ack_s: float = ACK_TIMEOUT_S
    ) -> None:
        for left in reversed(range(STAMPS)):
            try:
                self._request(self._stamped(order, ttl_ms), *blobs, ack_s=ack_s)
                return
            except RequestRefused as refusal:
                if not left or not refusal.outdated:
                    raise

    def _send(self, message: Message, deadline_s: float, *blob: bytes) -> int:
        data = self._sealed(message)
        if not self._ready(zmq.POLLOUT, deadline_s):
            raise self._nobody()
        self._dealer.send_multipart([data, *blob])
        return self._seq

    def _reply(self, seq: int, deadline_s: float, *kinds: type[Message]) -> Reply | None:
        """The first reply of these kinds to this request; None past the deadline."""
        while self._ready(zmq.POLLIN, deadline_s):
            reply = self._take()
            if reply is not None and reply.answers(seq, kinds):
                return reply
        return None

    def _ready(self, flags: int, deadline_s: float) -> bool:
        """Wait until the requests socket is; False past the deadline. Raises KeyRefused."""
        poller = zmq.Poller()
        poller.register(self._dealer, flags)
        for refusals in self._refusals:
            poller.register(refusals, zmq.POLLIN)
        while came := dict(poller.poll(_left_ms(deadline_s))):
            self._check_welcome()
            if self._dealer in came:
                return True
        return False

    # The end.

    def close(self) -> None:
        """Disconnect; a request that nobody took is dropped."""
        self._disconnect()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _left_ms(deadline_s: float) -> int:
    return max(0, int((deadline_s - time.monotonic()) * 1000))
