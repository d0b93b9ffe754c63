"""A robot's end of the bus: hear what is published, ask, and know what was missed.

    with Client() as bus:
        reply = bus.ask("What should I do next?")

Synchronous and for one thread. It does not start a runtime, and it trusts nothing that it reads:
bytes that are no message are counted in `hostile`, holes in a topic's sequence in `gaps`. With
`since` the holes are filled from the runtime's journal.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable, Iterator
from math import ceil
from types import TracebackType

import zmq

from otter_robots import endpoints
from otter_robots.envelope import MAX_MESSAGE_BYTES, Envelope, new_epoch, pack, seal, unpack
from otter_robots.errors import NoAnswer, NobodyListening, UserError, WireError
from otter_robots.listener import Listener, Since, snapshot_items
from otter_robots.messages import (
    Abstain,
    Ack,
    Answer,
    Cancel,
    Instruct,
    Message,
    Page,
    Question,
    Snapshot,
)
from otter_robots.recovery import OLDEST as OLDEST
from otter_robots.recovery import Place as Place
from otter_robots.topics import HEALTH, TOPICS, Topic

# A runtime acknowledges a request in the front process's next turn, well within a millisecond.
ACK_TIMEOUT_S = 2.0
RECEIVE_HIGH_WATER = 1000


class Client:
    """One connection to one runtime; connecting succeeds whether or not it runs already.

    Raises AddressRefused for an endpoint that is not loopback or ipc.
    """

    def __init__(
        self, stream: str | None = None, requests: str | None = None, name: str = ""
    ) -> None:
        self.stream = stream or endpoints.stream_endpoint()
        self.requests = requests or endpoints.requests_endpoint()
        self.name = name
        self._listener = Listener()
        self._subscribed: set[bytes] = set()
        self._epoch, self._seq = new_epoch(0), 0
        for endpoint in (self.stream, self.requests):
            endpoints.check(endpoint)
        self._context = zmq.Context(io_threads=1)
        self._sub = self._connect(zmq.SUB, self.stream)
        self._dealer = self._connect(zmq.DEALER, self.requests)
        self._poller = zmq.Poller()
        self._poller.register(self._sub, zmq.POLLIN)
        self._poller.register(self._dealer, zmq.POLLIN)

    def _connect(self, kind: int, endpoint: str) -> zmq.Socket[bytes]:
        socket: zmq.Socket[bytes] = self._context.socket(kind)
        socket.rcvhwm = RECEIVE_HIGH_WATER
        socket.maxmsgsize = MAX_MESSAGE_BYTES
        # No heartbeat of libzmq's on this side: with it a subscriber whose queue is full aborts the
        # whole process when it reads on (libzmq issues 3937 and 4767, seen in 4.3.5). `alive` tells
        # the same from the health topic.
        if kind == zmq.DEALER:
            # A request that nobody took must not reach a runtime that starts an hour later: it is
            # queued for a connection that stands, and for no other.
            socket.immediate = 1
        socket.linger = 0
        socket.sndtimeo = 0
        socket.connect(endpoint)
        return socket

    # The stream.

    def subscribe(self, topics: Iterable[Topic] | None = None) -> None:
        """Ask for these topics (all of the table by default), from now on."""
        for topic in TOPICS.values() if topics is None else topics:
            if topic.wire not in self._subscribed:
                self._subscribed.add(topic.wire)
                self._sub.subscribe(topic.wire)

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
        chosen = list(TOPICS.values() if topics is None else topics)
        if since is not None:
            self._listener.recover(chosen, since)
        self.subscribe(chosen)
        return iter(lambda: self.receive(timeout_s), None)

    def receive(self, timeout_s: float | None = None) -> tuple[Envelope, Message] | None:
        """The next message of the subscribed topics, or None after `timeout_s` without one."""
        deadline_s = None if timeout_s is None else time.monotonic() + timeout_s
        while (item := self._listener.give()) is None:
            self._ask_for_pages()
            came = dict(self._poller.poll(self._patience_ms(deadline_s)))
            if self._sub in came:
                self._listener.hear(self._sub.recv_multipart(), time.monotonic())
            if self._dealer in came:
                self._listener.take(self._dealer.recv_multipart(), time.monotonic())
            if not came and deadline_s is not None and time.monotonic() >= deadline_s:
                return None
        return item

    def _ask_for_pages(self) -> None:
        now_s = time.monotonic()
        for history in self._listener.due(now_s):
            data = self._sealed(history)
            try:
                self._dealer.send(data)
            except zmq.Again:
                self._listener.asked(history, None, now_s)
            else:
                self._listener.asked(history, self._seq, now_s)

    def _patience_ms(self, deadline_s: float | None) -> int | None:
        now_s = time.monotonic()
        waits_s = [self._listener.wait_s(now_s), None if deadline_s is None else deadline_s - now_s]
        given = [wait_s for wait_s in waits_s if wait_s is not None]
        return max(0, ceil(min(given) * 1000)) if given else None

    @property
    def hostile(self) -> int:
        """How much was received that is no message of ours."""
        return self._listener.hostile

    @property
    def gaps(self) -> dict[str, int]:
        """Messages missed on the stream per topic since the first one heard of it."""
        return {topic: sequence.lost for topic, sequence in self._listener.sequences.items()}

    @property
    def recovered(self) -> dict[str, int]:
        """Messages that came from the journal, per topic asked for with `since`."""
        return {name: one.recovered for name, one in self._listener.recoveries.items()}

    @property
    def lost(self) -> dict[str, int]:
        """Messages that are gone for good, per topic asked for with `since`."""
        return {name: one.lost for name, one in self._listener.recoveries.items()}

    @property
    def places(self) -> dict[str, Place]:
        """Where to go on after a restart: the `since` of the next client."""
        return dict(self._listener.places)

    @property
    def restarts(self) -> int:
        """How often the publisher was seen to start anew."""
        return max((one.restarts for one in self._listener.sequences.values()), default=0)

    def alive(self, topic: Topic = HEALTH) -> bool:
        """Whether a topic with a rate was heard within three of its periods, as far as read.

        Raises UserError for a topic without a rate.
        """
        if topic.rate_hz is None:
            raise UserError(f"topic {topic.name} has no rate; ask for {HEALTH.name} instead")
        heard_s = self._listener.heard_at_s.get(topic.name)
        return heard_s is not None and time.monotonic() - heard_s < 3 / topic.rate_hz

    # Requests.

    def ask(
        self,
        text: str,
        timeout_s: float = 30.0,
        *,
        deadline_ms: int | None = None,
        priority: int = 0,
    ) -> Answer | Abstain:
        """Ask about what the camera sees now and wait for the answer, or why there is none.

        Raises NobodyListening when no runtime takes the question, NoAnswer when one did and stays
        silent for `timeout_s`.
        """
        return self.ask_sealed(text, timeout_s, deadline_ms=deadline_ms, priority=priority)[1]

    def ask_sealed(
        self,
        text: str,
        timeout_s: float = 30.0,
        *,
        deadline_ms: int | None = None,
        priority: int = 0,
    ) -> tuple[Envelope, Answer | Abstain]:
        """`ask`, with the reply's envelope."""
        question = Question(
            id=secrets.token_hex(8),
            text=text,
            deadline_ms=deadline_ms,
            priority=priority,
            client=self.name,
        )
        deadline_s = time.monotonic() + timeout_s
        seq = self._request(question)
        parts = self._reply(seq, deadline_s, Answer, Abstain)
        if parts is None:
            raise NoAnswer(question.id, timeout_s)
        envelope, message = unpack(parts[0])
        assert isinstance(message, (Answer, Abstain))
        return envelope, message

    def instruct(self, text: str, interval_s: float) -> None:
        """Replace the standing instruction; raises NobodyListening."""
        self._request(Instruct(text=text, interval_s=interval_s))

    def cancel(self, question_id: str) -> None:
        """Drop a question that was not answered yet; raises NobodyListening."""
        self._request(Cancel(question_id=question_id))

    def snapshot(self) -> dict[str, tuple[Envelope, Message]]:
        """The latest message of every topic in this run of the runtime, by topic.

        Raises NobodyListening.
        """
        deadline_s = time.monotonic() + ACK_TIMEOUT_S
        seq = self._send(Snapshot(), deadline_s)
        parts = self._reply(seq, deadline_s, Page)
        if parts is None:
            raise NobodyListening(self.requests, ACK_TIMEOUT_S)
        return {envelope.topic: (envelope, message) for envelope, message in snapshot_items(parts)}

    def _request(self, message: Message) -> int:
        """Send, wait for the acknowledgement, and give the request's seq."""
        deadline_s = time.monotonic() + ACK_TIMEOUT_S
        seq = self._send(message, deadline_s)
        if self._reply(seq, deadline_s, Ack) is None:
            raise NobodyListening(self.requests, ACK_TIMEOUT_S)
        return seq

    def _sealed(self, message: Message) -> bytes:
        self._seq += 1
        data = pack(seal(message, topic="request", epoch=self._epoch, seq=self._seq))
        # What our own fields may hold is declared once, in the messages; this reads it back.
        try:
            unpack(data)
        except WireError as error:
            raise UserError(f"the runtime would refuse this request: {error}") from error
        return data

    def _send(self, message: Message, deadline_s: float) -> int:
        data = self._sealed(message)
        if not self._dealer.poll(_left_ms(deadline_s), zmq.POLLOUT):
            raise NobodyListening(self.requests, ACK_TIMEOUT_S)
        self._dealer.send(data)
        return self._seq

    def _reply(self, seq: int, deadline_s: float, *kinds: type[Message]) -> list[bytes] | None:
        """The parts of the first reply of these kinds to this request; None past the deadline."""
        while self._dealer.poll(_left_ms(deadline_s)):
            parts = self._dealer.recv_multipart()
            if self._listener.take(parts, time.monotonic()):
                continue
            try:
                envelope, message = unpack(parts[0])
            except WireError:
                continue  # counted by the listener
            if envelope.reply_to != seq:
                continue
            if isinstance(message, Ack) and not message.ok:
                raise UserError(f"the runtime refused the request: {message.detail}")
            if isinstance(message, kinds):
                return parts
        return None

    # The end.

    def close(self) -> None:
        """Disconnect; a request that nobody took is dropped."""
        self._context.destroy(linger=0)

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _left_ms(deadline_s: float | None) -> int | None:
    return None if deadline_s is None else max(0, int((deadline_s - time.monotonic()) * 1000))
