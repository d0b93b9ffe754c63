"""What a client of either kind is while nothing waits: two sockets, what came, what was asked.

`client` waits by blocking, `aio` on an event loop; neither repeats what stands here. It does not
start a runtime, and it trusts nothing that it reads: bytes that are no message are counted in
`hostile`, holes in a topic's sequence in `gaps`.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import msgspec
import zmq
from zmq.utils.monitor import recv_monitor_message

from otter_robots import endpoints, keys
from otter_robots.envelope import MAX_MESSAGE_BYTES, Envelope, new_epoch, pack, seal, unpack
from otter_robots.errors import KeyRefused, NobodyListening, RequestRefused, UserError, WireError
from otter_robots.listener import Listener, Since
from otter_robots.messages import Ack, Message, Order, Question
from otter_robots.recovery import Place
from otter_robots.skill import Offer
from otter_robots.skills import Registry, offered
from otter_robots.stamper import Stamper
from otter_robots.topics import HEALTH, TOPICS, Topic

# A runtime acknowledges a request in the front process's next turn, well within a millisecond.
ACK_TIMEOUT_S = 2.0
RECEIVE_HIGH_WATER = 1000
# As long as its sender waits for the Ack: what it was told had failed is not carried out later.
ORDER_TTL_MS = ACK_TIMEOUT_S * 1000
# The model encodes an exemplar's pictures before it is acknowledged.
PIN_TIMEOUT_S = 30.0
# A stop is better late than never.
STOP_TTL_MS = 60_000.0
# The first teaches the runtime's clock; another client of the same name may come between.
STAMPS = 4

# ZAP's code for a key that is not allowed; libzmq does not try again. 300 is a failure that passes.
REFUSED_FOR_GOOD = 400


class Reply(NamedTuple):
    """What came back for a request; `parts` are all of it, a page's messages included."""

    envelope: Envelope
    message: Message
    parts: list[bytes]

    def answers(self, seq: int, kinds: tuple[type[Message], ...]) -> bool:
        """Whether it is a reply of these kinds to request `seq`; raises RequestRefused."""
        if self.envelope.reply_to != seq:
            return False
        if isinstance(self.message, Ack) and not self.message.ok:
            raise RequestRefused(self.message.reason, self.message.detail)
        return isinstance(self.message, kinds)


class Connection:
    """One connection to one runtime; connecting succeeds whether or not it runs already.

    `key` is the file that `otter-edge keys make` wrote on the device; every tcp endpoint is
    encrypted and authenticated with it then, and its name is the client's. Raises AddressRefused
    for an endpoint beyond this machine without a key, and KeyFileRefused.
    """

    def __init__(
        self,
        stream: str | None = None,
        requests: str | None = None,
        name: str = "",
        key: Path | str | None = None,
    ) -> None:
        self.stream = stream or endpoints.stream_endpoint()
        self.requests = requests or endpoints.requests_endpoint()
        self._key = keys.read(Path(key)) if key else None
        self.name = self._key.name if self._key else name
        self._listener = Listener()
        self._stamper = Stamper(self.name)
        self._subscribed: set[bytes] = set()
        self._epoch, self._seq = new_epoch(0), 0
        for endpoint in (self.stream, self.requests):
            endpoints.check(endpoint, keyed=self._key is not None)
        self._context = zmq.Context(io_threads=1)
        self._welcome = True
        self._refusals: list[zmq.Socket[bytes]] = []
        self._sub = self._connect(zmq.SUB, self.stream)
        self._dealer = self._connect(zmq.DEALER, self.requests)

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
        # Otherwise nothing tells this side of a machine that lost its power.
        socket.tcp_keepalive = 1
        socket.tcp_keepalive_idle, socket.tcp_keepalive_intvl, socket.tcp_keepalive_cnt = 5, 2, 3
        if self._key and endpoints.ipc_path(endpoint) is None:
            self._identify(socket, self._key)
        socket.connect(endpoint)
        return socket

    def _identify(self, socket: zmq.Socket[bytes], key: keys.Key) -> None:
        socket.curve_serverkey = key.server.encode()
        socket.curve_publickey = key.public.encode()
        socket.curve_secretkey = key.secret.encode()
        self._refusals.append(socket.get_monitor_socket(zmq.EVENT_HANDSHAKE_FAILED_AUTH))

    def _check_welcome(self) -> None:
        """Raise KeyRefused where the runtime refused our key."""
        for refusals in self._refusals:
            while refusals.poll(0):
                event = recv_monitor_message(refusals)
                self._welcome = self._welcome and event["value"] != REFUSED_FOR_GOOD
        if not self._welcome:
            raise KeyRefused(self.requests, self.name)

    def _nobody(self, waited_s: float = ACK_TIMEOUT_S) -> NobodyListening:
        """Why no acknowledgement came; raises KeyRefused where that is why."""
        self._check_welcome()
        return NobodyListening(self.requests, waited_s)

    # The stream.

    def subscribe(self, topics: Iterable[Topic] | None = None) -> None:
        """Ask for these topics (all of the table by default), from now on."""
        for topic in TOPICS.values() if topics is None else topics:
            if topic.wire not in self._subscribed:
                self._subscribed.add(topic.wire)
                self._sub.subscribe(topic.wire)

    def _follow(self, topics: Iterable[Topic] | None, since: Since | None) -> None:
        """Subscribe, and recover what was published after these places."""
        chosen = list(TOPICS.values() if topics is None else topics)
        if since is not None:
            self._listener.recover(chosen, since)
        self.subscribe(chosen)

    def _hear(self) -> None:
        """Take what came on the stream; something did."""
        self._listener.hear(self._sub.recv_multipart(), time.monotonic())

    def _ask_for_pages(self) -> None:
        now_s = time.monotonic()
        for history in self._listener.due(now_s):
            try:
                seq = self._post(history)
            except zmq.Again:
                self._listener.asked(history, None, now_s)
            else:
                self._listener.asked(history, seq, now_s)

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

    def _question(
        self,
        text: str,
        deadline_ms: int | None,
        priority: int,
        frame: int | None,
        skills: Registry | Offer | None,
        conversation: str,
    ) -> Question:
        return Question(
            id=secrets.token_hex(8),
            text=text,
            deadline_ms=deadline_ms,
            priority=priority,
            client=self.name,
            frame=frame,
            skills=offered(skills),
            conversation=conversation,
        )

    def _stamped(self, order: Order, ttl_ms: float) -> Order:
        return msgspec.structs.replace(
            order, stamp=self._stamper.stamp(ttl_ms, time.monotonic_ns())
        )

    def _sealed(self, message: Message) -> bytes:
        self._seq += 1
        data = pack(seal(message, topic="request", epoch=self._epoch, seq=self._seq))
        # What our own fields may hold is declared once, in the messages; this reads it back.
        try:
            unpack(data)
        except WireError as error:
            raise UserError(f"the runtime would refuse this request: {error}") from error
        return data

    def _check_size(self, *blobs: bytes) -> None:
        size = max(map(len, blobs), default=0)
        if size > MAX_MESSAGE_BYTES:
            raise UserError(
                f"the picture is {size} bytes, the bus takes {MAX_MESSAGE_BYTES}; "
                "push a JPEG or a smaller picture"
            )

    def _post(self, message: Message) -> int:
        """Send without waiting, and give the request's seq; raises zmq.Again where nobody is."""
        self._dealer.send(self._sealed(message), zmq.NOBLOCK)
        return self._seq

    def _take(self) -> Reply | None:
        """Take what came on the requests socket; None for a page of history, or for nonsense."""
        parts = self._dealer.recv_multipart()
        if self._listener.take(parts, time.monotonic()):
            return None
        try:
            reply = Reply(*unpack(parts[0]), parts)
        except WireError:
            return None  # counted by the listener
        if isinstance(reply.message, Ack):
            self._stamper.hear(reply.envelope, time.monotonic_ns())
        return reply

    # The end.

    def _disconnect(self) -> None:
        self._context.destroy(linger=0)
