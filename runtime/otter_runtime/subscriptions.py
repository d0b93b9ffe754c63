"""Which topics somebody listens to, as told upstream on the stream socket, and no more of it.

It knows the table of topics. libzmq keeps whatever peers subscribe to: a hundred thousand prefixes
of 200 bytes took a gigabyte of the runtime's memory. It forgets them with their connection, so
when too many are of no topic, every connection is ended; who listens to something is back at once.
That bounds what gathers over time, not what one burst takes before it is seen.
"""

from __future__ import annotations

from otter_robots.topics import TOPICS, Topic
from otter_runtime.port import Port

MAX_TOPIC_BYTES = 256
# What may come upstream, CURVE's handshake included; libzmq's default is no limit at all.
MAX_UPSTREAM_BYTES = 512
MESSAGES_PER_TURN = 1000
# An older or a newer client may know some topics more; 1000 prefixes take some megabytes.
STRANGE = 1000


class Subscriptions:
    """Of one XPUB's port. `hostile` counts what was no subscription, and ended connections once."""

    def __init__(self, port: Port) -> None:
        self.hostile = 0
        self.prefixes: set[bytes] = set()
        self._port = port
        self._strange: set[bytes] = set()

    def has(self, topic: Topic) -> bool:
        """Whether somebody listens to this topic, as of the last `drain`."""
        return any(topic.wire.startswith(prefix) for prefix in self.prefixes)

    def drain(self) -> None:
        """Take what came."""
        for _ in range(MESSAGES_PER_TURN):
            if not self._port.socket.poll(0):
                break
            self._take(self._port.socket.recv_multipart())
        if len(self._strange) > STRANGE:
            self.hostile += 1
            self._strange.clear()
            self._port.drop_connections()

    def _take(self, parts: list[bytes]) -> None:
        kind, prefix = parts[0][:1], parts[0][1:]
        if len(parts) > 1 or kind not in (b"\0", b"\1") or len(prefix) > MAX_TOPIC_BYTES:
            self.hostile += 1
        if kind not in (b"\0", b"\1"):
            return
        known = any(topic.wire.startswith(prefix) for topic in TOPICS.values())
        prefixes = self.prefixes if known else self._strange
        (prefixes.add if kind == b"\1" else prefixes.discard)(prefix)
