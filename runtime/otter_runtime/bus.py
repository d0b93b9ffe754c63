"""The device's end of the bus: publishes on a stream socket, takes requests on another.

It knows the table of topics and the journal, not where answers come from. One thread owns it:
`poll` belongs in the front process's loop, and nothing here blocks longer than it is told.

What arrives is hostile until it decodes, and judged before it has an effect: whatever is no request
of ours is counted and dropped.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager

import zmq

from otter_robots.envelope import MAX_MESSAGE_BYTES, Envelope, new_epoch, pack, unpack
from otter_robots.errors import WireError
from otter_robots.messages import RESUME, STOP, Ack, Command, Fault, History, Message, Snapshot
from otter_robots.topics import COMMAND, FAULT, TOPICS, Topic
from otter_runtime.admission import Admission
from otter_runtime.archive import Archive
from otter_runtime.audit import Audit
from otter_runtime.doorman import Doorman
from otter_runtime.errors import JournalError
from otter_runtime.journal import Journal
from otter_runtime.keyring import Keyring
from otter_runtime.outbox import Outbox
from otter_runtime.port import Port
from otter_runtime.request import Request as Request
from otter_runtime.request import read
from otter_runtime.scribe import NOBODY, Scribe
from otter_runtime.subscriptions import MAX_UPSTREAM_BYTES, Subscriptions

# A subscriber that stops reading loses messages, which it sees in seq, and holds nobody else up.
STREAM_HIGH_WATER, REQUESTS_HIGH_WATER = 1000, 100
# How long closing waits for `ended` to leave.
LINGER_MS = 500
# A flood of requests may not keep the front process from its cameras.
REQUESTS_PER_POLL = 64


class Bus:
    """Both sockets, bound; endpoints are `ipc:///path` or `tcp://127.0.0.1:port` (or `:*`).

    With a keyring every tcp endpoint is for the clients in it alone, and may be beyond this
    machine. Raises AddressRefused for such an address without one, PortInUse when somebody already
    listens there, KeyFileRefused. `stream` and `requests` are the endpoints as bound; `epoch` is
    this run's.
    """

    def __init__(
        self, stream: str, requests: str, journal: Journal, keyring: Keyring | None = None
    ) -> None:
        self._hostile = 0
        self.undelivered = 0
        self.scribe: Scribe = NOBODY
        self.archive = Archive(journal)
        self._journal = journal
        self._troubles: dict[str, str] = {}
        self._ports: list[Port] = []
        self.folder = journal.path.parent
        self.audit = Audit(self.folder)
        self._context = zmq.Context(io_threads=1)
        self._poller = zmq.Poller()
        try:
            self._doorman = Doorman(self._context, keyring, self.audit)
            self._xpub = self._bind(zmq.XPUB, stream, STREAM_HIGH_WATER, MAX_UPSTREAM_BYTES)
            self._router = self._bind(zmq.ROUTER, requests, REQUESTS_HIGH_WATER, MAX_MESSAGE_BYTES)
        except BaseException:
            self.close()
            raise
        self.stream, self.requests = (port.endpoint for port in self._ports)
        # Otherwise only the first subscription to a topic is announced.
        self._xpub.setsockopt(zmq.XPUB_VERBOSE, 1)
        # Otherwise a reply to a peer that left vanishes without a word.
        self._router.setsockopt(zmq.ROUTER_MANDATORY, 1)
        self.subscriptions = Subscriptions(self._ports[0])
        self._poller.register(self._doorman.socket, zmq.POLLIN)
        self.epoch = self.audit.epoch = self._begin_epoch()
        self.outbox = Outbox(self.epoch, journal, self._send, self._answer)
        self._admission = Admission(self.epoch, self._doorman, self.audit)

    def _bind(
        self, kind: int, endpoint: str, high_water: int, most_bytes: int
    ) -> zmq.Socket[bytes]:
        port = Port(
            self._context, kind, endpoint, self._doorman,
            high_water=high_water, most_bytes=most_bytes,
        )  # fmt: skip
        self._ports.append(port)
        self._poller.register(port.socket, zmq.POLLIN)
        return port.socket

    def _begin_epoch(self) -> str:
        try:
            return new_epoch(self._journal.next_epoch())
        except JournalError:
            # Nobody listens yet; the first message that cannot be journalled brings the Fault.
            return new_epoch(0)

    # The stream.

    def publish(self, topic: Topic, message: Message, blob: bytes = b"") -> Envelope:
        """Publish, on disk first where the topic is journalled; gives the envelope as sent.

        When the journal fails the message goes out all the same with `journalled=False`, and a
        Fault `journal` says so, once until it works again. Within a `batch` the envelope is the one
        that it will have if all goes well.
        """
        return self.outbox.publish(topic, message, blob)

    def batch(self) -> AbstractContextManager[None]:
        """What is published and replied within is journalled in one go, then sent in order."""
        return self.outbox.batch()

    def _send(self, envelope: Envelope, blob: bytes) -> None:
        self._xpub.send_multipart([TOPICS[envelope.topic].wire, pack(envelope), blob])
        self.archive.published(envelope, blob)

    def attend(self, scribe: Scribe) -> None:
        """From now on `scribe` hears of what is said and asked before anybody else does."""
        self.scribe = scribe
        self.outbox.scribe = scribe.publications

    @property
    def journal_ok(self) -> bool:
        """Whether the journal took the last message that belongs into it."""
        return self.outbox.journal_ok

    @property
    def hostile(self) -> int:
        """How much came that is no message of ours."""
        return self._hostile + self.subscriptions.hostile

    def subscribed(self, topic: Topic) -> bool:
        """Whether somebody listens to this topic, as of the last poll."""
        return self.subscriptions.has(topic)

    def stopped(self) -> bool:
        """Whether the newest of the journalled `stop` and `resume` is a stop.

        False where the journal cannot be read: robots remember a stop by themselves as well.
        """
        try:
            for data in self._journal.backwards(COMMAND.name):
                _, message = unpack(data)
                if isinstance(message, Command) and message.name in (STOP, RESUME):
                    return message.name == STOP
        except JournalError:
            pass
        return False

    # Requests.

    def watch(self, descriptor: int) -> None:
        """Let `poll` return early when this descriptor can be read; it reads nothing from it."""
        self._poller.register(descriptor, zmq.POLLIN)

    def unwatch(self, descriptor: int) -> None:
        """Forget a descriptor that was watched."""
        self._poller.unregister(descriptor)

    def poll(self, timeout_ms: float) -> list[Request]:
        """Wait up to `timeout_ms` for requests; never raises for what a peer sends.

        What is about the past was answered already and is not given back, nor is an order that was
        refused; whoever takes a request that is given back replies with an Ack.
        """
        ready = dict(self._poller.poll(int(timeout_ms)))
        self._mind_the_door()
        if self._xpub in ready:
            self.subscriptions.drain()
        return self._drain_requests() if self._router in ready else []

    def _mind_the_door(self) -> None:
        if self._doorman.tend():
            for port in self._ports:
                if port.keyed:
                    port.drop_connections()
        for port in self._ports:
            port.tend()
        self._doorman.answer()
        self.say_trouble("port", next((port.trouble for port in self._ports if port.trouble), ""))
        self.say_trouble("keys", self._doorman.trouble)
        self.say_trouble("audit", self.audit.trouble)
        self.say_trouble("record", self.scribe.trouble)

    def say_trouble(self, code: str, trouble: str) -> None:
        """A Fault when it begins and when it is over."""
        if bool(trouble) == bool(self._troubles.get(code)):
            return
        self._troubles[code] = trouble
        detail = trouble or "it is over"
        self.publish(FAULT, Fault(code=code, detail=detail, cleared=not trouble))

    def _drain_requests(self) -> list[Request]:
        requests = []
        for _ in range(REQUESTS_PER_POLL):
            if not self._router.poll(0):
                break
            try:
                request = self._next_request()
            except WireError:
                self._hostile += 1
                continue
            if not self._receive(request):
                self.scribe.request(request)
                requests.append(request)
        return requests

    def _next_request(self) -> Request:
        if not self._ports[1].keyed:
            return read(self._router.recv_multipart())
        frames = self._router.recv_multipart(copy=False)
        return read([frame.bytes for frame in frames], key=_key(frames[-1]))

    def _receive(self, request: Request) -> bool:
        """Reply at once where it is refused, or about the past; whether that is all."""
        refusal = self._admission.refusal(request)
        if refusal:
            self.reply(request, refusal)
        elif isinstance(request.message, History):
            self.reply(request, *self.archive.page(request.message, request.peer))
        elif isinstance(request.message, Snapshot):
            self.reply(request, *self.archive.snapshot(request.peer))
        else:
            return False
        return True

    def refuse(self, request: Request, refusal: Ack) -> None:
        """Refuse what `poll` gave, and keep it on record."""
        self._admission.note_refusal(request, refusal)
        self.reply(request, refusal)

    def reply(
        self, request: Request, message: Message | Envelope, parts: Iterable[bytes] = ()
    ) -> None:
        """Send a message to the one that asked; counted in `undelivered` when it is gone.

        An envelope from `publish` goes out as it was published, so that the asker and the journal
        name an answer by the same epoch and seq. `parts` are a page's messages.
        """
        self.outbox.reply(request.peer, request.envelope.seq, message, parts)

    def _answer(self, peer: bytes, envelope: Envelope, parts: Iterable[bytes]) -> None:
        try:
            self._router.send_multipart([peer, pack(envelope), *parts])
        except zmq.ZMQError:
            self.undelivered += 1

    # The end.

    def close(self) -> None:
        """Let what was published leave (at most half a second), unbind, close the journal."""
        self._context.destroy(linger=LINGER_MS)
        for port in self._ports:
            port.release()
        self._journal.close()

    def __enter__(self) -> Bus:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _key(frame: zmq.Frame) -> str:
    """The key of the connection that a frame came from."""
    try:
        return str(frame.get("User-Id"))
    except zmq.ZMQError as error:
        raise WireError("a message without a key where keys are asked for") from error
