"""A robot's end of the bus: hear what is published, ask, and know what was missed.

    with Client() as bus:
        reply = bus.ask("What should I do next?")

Synchronous and for one thread. It does not start a runtime, and it trusts nothing that it reads:
bytes that are no message are counted in `hostile`, holes in a topic's sequence in `gaps`.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable, Iterator
from types import TracebackType

import zmq

from otter_robots import endpoints
from otter_robots.envelope import MAX_MESSAGE_BYTES, Envelope, new_epoch, pack, seal, unpack
from otter_robots.errors import NoAnswer, NobodyListening, UserError, WireError
from otter_robots.messages import (
    Abstain,
    Ack,
    Answer,
    AnswerDelta,
    Cancel,
    Instruct,
    Message,
    Question,
)
from otter_robots.sequence import Sequence
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
        self.hostile = 0
        self._sequences: dict[str, Sequence] = {}
        self._subscribed: set[bytes] = set()
        self._heard_at_s: dict[str, float] = {}
        self._epoch, self._seq = new_epoch(0), 0
        for endpoint in (self.stream, self.requests):
            endpoints.check(endpoint)
        self._context = zmq.Context(io_threads=1)
        self._sub = self._connect(zmq.SUB, self.stream)
        self._dealer = self._connect(zmq.DEALER, self.requests)

    def _connect(self, kind: int, endpoint: str) -> zmq.Socket[bytes]:
        socket: zmq.Socket[bytes] = self._context.socket(kind)
        socket.rcvhwm = RECEIVE_HIGH_WATER
        socket.maxmsgsize = MAX_MESSAGE_BYTES
        # No heartbeat of libzmq's on this side: with it a subscriber whose queue is full aborts the
        # whole process when it reads on (libzmq issues 3937 and 4767, seen in 4.3.5). `alive` tells
        # the same from the health topic.
        # A request that nobody took must not reach a runtime that starts an hour later.
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
        self, topics: Iterable[Topic] | None = None, timeout_s: float | None = None
    ) -> Iterator[tuple[Envelope, Message]]:
        """What is published from now on, in order, without duplicates.

        Subscribes at the call, not at the first item. Ends after `timeout_s` of silence; None
        waits for ever.
        """
        self.subscribe(topics)
        return iter(lambda: self.receive(timeout_s), None)

    def receive(self, timeout_s: float | None = None) -> tuple[Envelope, Message] | None:
        """The next message of the subscribed topics, or None after `timeout_s` without one."""
        deadline_s = None if timeout_s is None else time.monotonic() + timeout_s
        while self._sub.poll(_left_ms(deadline_s)):
            received = self._accept(self._sub.recv_multipart())
            if received is not None:
                return received
        return None

    def _accept(self, parts: list[bytes]) -> tuple[Envelope, Message] | None:
        try:
            envelope, message = _from_stream(parts)
        except WireError:
            self.hostile += 1
            return None
        self._heard_at_s[envelope.topic] = time.monotonic()
        sequence = self._sequences.setdefault(envelope.topic, Sequence())
        return (envelope, message) if sequence.take(envelope.epoch, envelope.seq) else None

    @property
    def gaps(self) -> dict[str, int]:
        """Messages missed per topic since the first one heard of it."""
        return {topic: sequence.lost for topic, sequence in self._sequences.items()}

    @property
    def restarts(self) -> int:
        """How often the publisher was seen to start anew."""
        return max((sequence.restarts for sequence in self._sequences.values()), default=0)

    def alive(self, topic: Topic = HEALTH) -> bool:
        """Whether a topic with a rate was heard within three of its periods, as far as read.

        Raises UserError for a topic without a rate.
        """
        if topic.rate_hz is None:
            raise UserError(f"topic {topic.name} has no rate; ask for {HEALTH.name} instead")
        heard_s = self._heard_at_s.get(topic.name)
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
        while (reply := self._reply(seq, deadline_s)) is not None:
            envelope, message = reply
            if isinstance(message, (Answer, Abstain)):
                return envelope, message
        raise NoAnswer(question.id, timeout_s)

    def instruct(self, text: str, interval_s: float) -> None:
        """Replace the standing instruction; raises NobodyListening."""
        self._request(Instruct(text=text, interval_s=interval_s))

    def cancel(self, question_id: str) -> None:
        """Drop a question that was not answered yet; raises NobodyListening."""
        self._request(Cancel(question_id=question_id))

    def _request(self, message: Message) -> int:
        """Send, wait for the acknowledgement, and give the request's seq."""
        self._seq += 1
        envelope = seal(message, topic="request", epoch=self._epoch, seq=self._seq)
        data = pack(envelope)
        # What our own fields may hold is declared once, in the messages; this reads it back.
        try:
            unpack(data)
        except WireError as error:
            raise UserError(f"the runtime would refuse this request: {error}") from error
        self._send(data)
        if self._reply(self._seq, time.monotonic() + ACK_TIMEOUT_S) is None:
            raise NobodyListening(self.requests, ACK_TIMEOUT_S)
        return self._seq

    def _send(self, data: bytes) -> None:
        try:
            self._dealer.send(data)
        except zmq.Again:
            raise NobodyListening(self.requests, 0) from None

    def _reply(self, seq: int, deadline_s: float) -> tuple[Envelope, Message] | None:
        while self._dealer.poll(_left_ms(deadline_s)):
            try:
                envelope, message = unpack(self._dealer.recv_multipart()[-1])
            except WireError:
                self.hostile += 1
                continue
            if isinstance(message, Ack) and not message.ok and envelope.reply_to == seq:
                raise UserError(f"the runtime refused the request: {message.detail}")
            if envelope.reply_to == seq and not isinstance(message, AnswerDelta):
                return envelope, message
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


def _from_stream(parts: list[bytes]) -> tuple[Envelope, Message]:
    if len(parts) < 2:
        raise WireError(f"{len(parts)} parts, a message has a topic and an envelope")
    envelope, message = unpack(parts[1])
    topic = TOPICS.get(envelope.topic)
    if topic is None or topic.wire != parts[0] or not isinstance(message, topic.messages):
        raise WireError(f"{envelope.schema} does not belong to topic {parts[0]!r}")
    return envelope, message


def _left_ms(deadline_s: float | None) -> int | None:
    return None if deadline_s is None else max(0, int((deadline_s - time.monotonic()) * 1000))
