"""Who may connect over tcp, and what they may do: the runtime's half of CURVE.

libzmq asks about every handshake on an inproc socket (ZAP, ZeroMQ RFC 27) and holds the connection
until it is answered; `answer` does so in the front process's own turn, so nothing here has a
thread or a lock. A message then carries the key of its connection, and what that key may do is
looked up anew for each.

What libzmq does without this, measured: with CURVE alone any client key is accepted, and a key
that is taken off the list keeps its connection. Hence the domain that is enforced, and `tend`.
Without keys whoever reaches the port is let in, and is asked about all the same: then libzmq takes
no peer that speaks the protocols of ZeroMQ 2, as which random bytes pass (200 blobs were 889
messages), and so might a web page's request to this machine.
"""

from __future__ import annotations

import time

import zmq
from zmq.utils import z85

from otter_robots.errors import KeyFileRefused
from otter_runtime.audit import Audit
from otter_runtime.keyring import Client, Keyring

ENDPOINT, DOMAIN = "inproc://zeromq.zap.01", b"otter-edge"
ANSWERS_PER_TURN = 64
LOOK_S = 0.2


class Doorman:
    """One context's; bind its sockets after this. Without a keyring nobody needs a key.

    Raises KeyFileRefused.
    """

    def __init__(
        self, context: zmq.Context[zmq.Socket[bytes]], keyring: Keyring | None, audit: Audit
    ) -> None:
        self.keyring, self.audit = keyring, audit
        self.trouble = ""  # why the allow-list cannot be read, and so nobody is let in
        self._server = keyring.server() if keyring else None
        if keyring:
            keyring.reload()
        self._looked_s = time.monotonic()
        self.socket: zmq.Socket[bytes] = context.socket(zmq.ROUTER)
        self.socket.linger = 0
        self.socket.bind(ENDPOINT)

    def guard(self, socket: zmq.Socket[bytes]) -> None:
        """Let only those onto this socket, to be bound next, whom `answer` lets in."""
        if self._server:
            socket.curve_server = 1
            socket.curve_secretkey = self._server.secret.encode()
        socket.zap_domain = DOMAIN
        # Otherwise everybody is let in where nobody answers.
        socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)

    def answer(self) -> None:
        """Answer who is waiting at the door."""
        for _ in range(ANSWERS_PER_TURN):
            if not self.socket.poll(0):
                return
            peer, empty, *parts = self.socket.recv_multipart()
            version, request, _, address, _, mechanism, *credentials = parts
            key = ""
            if mechanism == b"CURVE":
                key = z85.encode(credentials[0]).decode()
                code = self._judged(key, address.decode("ascii"))
            else:
                code = b"400" if self._server else b"200"
            user = key.encode() if code == b"200" else b""
            self.socket.send_multipart([peer, empty, version, request, code, b"", user, b""])

    def _judged(self, key: str, address: str) -> bytes:
        client = self.client(key)
        if client is None:
            self.audit.note_now_and_then("denied", key=key, address=address)
        else:
            self.audit.note_now_and_then("connected", client=client.name, key=key, address=address)
        # 300 is a failure that passes: the client tries again, where 400 ends it.
        return b"300" if self.trouble else b"400" if client is None else b"200"

    def client(self, key: str) -> Client | None:
        """Whose key it is; None where it is nobody's, or nobody's any more."""
        return self.keyring.clients.get(key) if self.keyring else None

    def tend(self) -> bool:
        """Look at the allow-list now and then; whether connections are to be dropped."""
        now_s = time.monotonic()
        if self.keyring is None or now_s - self._looked_s < LOOK_S:
            return False
        self._looked_s = now_s
        before = dict(self.keyring.clients)
        try:
            self.keyring.reload()
            self.trouble = ""
        except KeyFileRefused as error:
            self.trouble = str(error)
        gone = [client for key, client in before.items() if key not in self.keyring.clients]
        for client in gone:
            self.audit.note("revoked", client=client.name, key=client.public, detail=self.trouble)
        return bool(gone)
