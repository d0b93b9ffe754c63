"""A trial told again, at its own pace: what was published then, on the `replay/` topics of a bus.

It knows records, the stream socket and a clock; it does not know models. Whoever listens to the
live topics hears nothing of it, and whoever acts refuses it by its origin.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from math import ceil

import msgspec
import zmq

from otter_robots.envelope import Envelope, new_epoch, pack
from otter_robots.messages import Message
from otter_robots.topics import TOPICS
from otter_runtime import folders
from otter_runtime.audit import Audit
from otter_runtime.bus import LINGER_MS, STREAM_HIGH_WATER
from otter_runtime.doorman import Doorman
from otter_runtime.port import Port
from otter_runtime.subscriptions import MAX_UPSTREAM_BYTES
from otter_runtime.trials.channels import opened
from otter_runtime.trials.trial import Record

LOOK_S = 0.05  # how often a wait is looked up from

Say = Callable[[Envelope, Message], None]


class Broadcast:
    """A stream socket without requests, journal or keys: it stays on this machine.

    Raises AddressRefused and PortInUse.
    """

    def __init__(self, stream: str) -> None:
        self._context = zmq.Context(io_threads=1)
        # Each time another one, and later than all before: a listener takes none for a repetition.
        self._epoch = new_epoch(int(time.time()))
        self._stop = self._heard = False
        try:
            self._doorman = Doorman(self._context, None, Audit(folders.state()))
            self._port = Port(
                self._context,
                zmq.XPUB,
                stream,
                self._doorman,
                high_water=STREAM_HIGH_WATER,
                most_bytes=MAX_UPSTREAM_BYTES,
            )
        except BaseException:
            self._context.destroy(linger=0)
            raise
        self.stream = self._port.endpoint

    def stop(self) -> None:
        """End soon; may be called from a signal handler."""
        self._stop = True

    def play(self, records: Iterable[Record], speed: float, say: Say) -> int:
        """Tell these, `speed` times as fast as they were; how many, when all is told or `stop`.

        `say` hears of each. Raises TrialError for a record that was not published.
        """
        told, first_ns, begun_s = 0, 0, time.monotonic()
        for record in records:
            first_ns = first_ns or record.log_ns
            self._wait_until(begun_s + (record.log_ns - first_ns) / 1e9 / speed)
            if self._stop:
                break
            sealed, message = opened(record.data)
            envelope = msgspec.structs.replace(sealed, epoch=self._epoch, origin="replay")
            wire = TOPICS[envelope.topic].replayed.wire
            self._port.socket.send_multipart([wire, pack(envelope), b""])
            say(envelope, message)
            told += 1
        return told

    def wait_for_somebody(self, seconds: float) -> None:
        """Until somebody subscribes to a replay, `stop`, or so long."""
        until_s = time.monotonic() + seconds
        while not (self._stop or self._heard) and (left_s := until_s - time.monotonic()) > 0:
            self._turn(left_s)

    def _wait_until(self, until_s: float) -> None:
        while not self._stop and (left_s := until_s - time.monotonic()) > 0:
            self._turn(left_s)

    def _turn(self, left_s: float) -> None:
        """Let who knocks in, take subscriptions, for at most LOOK_S."""
        self._doorman.answer()
        if self._port.socket.poll(ceil(1000 * min(left_s, LOOK_S))):
            prefix = self._port.socket.recv_multipart()[0][1:]
            wires = [topic.replayed.wire for topic in TOPICS.values()]
            self._heard = self._heard or any(wire.startswith(prefix) for wire in wires)

    def close(self) -> None:
        """Let what was told leave, and unbind."""
        self._context.destroy(linger=LINGER_MS)
        self._port.release()

    def __enter__(self) -> Broadcast:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
