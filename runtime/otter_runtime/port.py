"""One of the bus's two sockets, bound: its limits, its lock or its keys, its connections.

It knows what libzmq does with connections; it does not know what is said over them.
"""

from __future__ import annotations

import errno
import time

import zmq

from otter_robots import endpoints
from otter_runtime.doorman import Doorman
from otter_runtime.errors import AddressRefused, PortInUse
from otter_runtime.ipc import IpcLock

# Connections that do not finish a handshake are dropped: 400 idle ones out of 400 were.
HANDSHAKE_MS = 1000
# A stopped peer is noticed in 1.2 s with these, and not at all without.
HEARTBEAT_MS, HEARTBEAT_TIMEOUT_MS = 300, 900
# libzmq closes a listener in its own thread, in well under a millisecond; what takes longer is
# somebody else's, and is waited for in turns.
REBIND_S = 0.1


class Port:
    """`endpoint` is `ipc:///path` or `tcp://host:port` (or `:*`), and afterwards as bound.

    Who gets onto a tcp port is the doorman's to say, and without keys it stays on this machine; ipc
    is for this user. Messages above `most_bytes` are dropped with their connection, before they are
    read. Raises AddressRefused and PortInUse.
    """

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        kind: int,
        endpoint: str,
        doorman: Doorman,
        *,
        high_water: int,
        most_bytes: int,
    ) -> None:
        self.trouble = ""  # why nobody is listened to just now
        self._lock = _locked(endpoint, keyed=doorman.keyring is not None)
        self.keyed = doorman.keyring is not None and self._lock is None
        self.socket: zmq.Socket[bytes] = context.socket(kind)
        self.socket.set_hwm(high_water)
        self.socket.maxmsgsize = most_bytes
        self.socket.handshake_ivl = HANDSHAKE_MS
        self.socket.heartbeat_ivl = HEARTBEAT_MS
        self.socket.heartbeat_timeout = HEARTBEAT_TIMEOUT_MS
        self.socket.sndtimeo = 0
        if self._lock is None:
            doorman.guard(self.socket)
        try:
            self.endpoint = self._bound(endpoint)
        except BaseException:
            self.release()
            raise

    def _bound(self, endpoint: str) -> str:
        try:
            self.socket.bind(endpoint)
        except zmq.ZMQError as error:
            if error.errno == errno.EADDRINUSE:
                raise PortInUse(endpoint) from error
            raise AddressRefused(f"{endpoint} cannot be bound: {error.strerror}") from error
        return self.socket.getsockopt_string(zmq.LAST_ENDPOINT)

    def drop_connections(self) -> None:
        """End every connection; who is welcome is back at once.

        libzmq has no call that ends one: it ends those of a listener with the listener. Where the
        place is taken meanwhile, `trouble` says so until `tend` has it back.
        """
        if not self.trouble:
            self.socket.unbind(self.endpoint)
        until_s = time.monotonic() + REBIND_S
        while not self._listens() and time.monotonic() < until_s:
            time.sleep(0.001)

    def tend(self) -> None:
        """Listen again, where the place was lost and is free now."""
        if self.trouble:
            self._listens()

    def _listens(self) -> bool:
        try:
            self._bound(self.endpoint)
        except (PortInUse, AddressRefused) as error:
            self.trouble = str(error)
            return False
        self.trouble = ""
        return True

    def release(self) -> None:
        """Let the ipc path go; the context closes the socket."""
        if self._lock is not None:
            self._lock.release()


def _locked(endpoint: str, keyed: bool) -> IpcLock | None:
    endpoints.check(endpoint, keyed)
    path = endpoints.ipc_path(endpoint)
    if path is None:
        return None
    lock = IpcLock(path)
    try:
        # Again, now that the folder exists: somebody may have made it meanwhile.
        endpoints.check(endpoint)
    except AddressRefused:
        lock.release()
        raise
    return lock
