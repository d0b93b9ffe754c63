"""Whether a request is let through: the client may ask that, and an order is its own and in time.

Every refusal has a sentence for the client and a line in the audit, and every order that is let
through has its line on disk before it has an effect. It knows permissions and stamps, no sockets.
"""

from __future__ import annotations

import time

from otter_robots.describe import describe
from otter_robots.messages import DENIED, STALE, Ack, Message, Order
from otter_robots.topics import REQUESTS
from otter_runtime.audit import Audit, What
from otter_runtime.doorman import Doorman
from otter_runtime.keyring import Client
from otter_runtime.orders import Orders
from otter_runtime.request import Request


class Admission:
    """One run's. Who came without a key, to a port that asks for none, may do everything."""

    def __init__(self, epoch: str, doorman: Doorman, audit: Audit) -> None:
        self._doorman = doorman
        self._audit = audit
        self._orders = Orders(epoch)

    def refusal(self, request: Request) -> Ack | None:
        """Why it is not let through, if so. An order that is let through is so only once."""
        message = request.message
        client = self._doorman.client(request.key) if request.key else None
        refusal = _denied(message, client) if request.key else None
        if refusal is None and isinstance(message, Order):
            refusal = self._orders.refusal(message.stamp, time.monotonic_ns())
        if refusal is not None:
            self.note_refusal(request, refusal)
        elif isinstance(message, Order):
            self._note("order", request, describe(message))
        return refusal

    def note_refusal(self, request: Request, refusal: Ack) -> None:
        """Keep on record that a request was refused."""
        message = request.message
        if refusal.reason == STALE and isinstance(message, Order) and not message.stamp.epoch:
            return  # who has not heard this run yet learns its clock by being refused
        self._note("refused", request, f"{type(message).__name__}: {refusal.detail}")

    def _note(self, what: What, request: Request, detail: str) -> None:
        note = self._audit.note if what == "order" else self._audit.note_now_and_then
        note(what, client=self._name(request), key=request.key, detail=detail)

    def _name(self, request: Request) -> str:
        if request.key:
            client = self._doorman.client(request.key)
            return client.name if client else ""
        # What somebody without a key says about itself.
        message = request.message
        return message.stamp.client if isinstance(message, Order) else ""


def _denied(message: Message, client: Client | None) -> Ack | None:
    """Why a client with a key may not ask this, if so."""
    if client is None:
        return _refused("the key is not known any more")
    kind, needs = type(message).__name__, REQUESTS[type(message)]
    if not client.may(needs):
        return _refused(
            f"{kind} needs a key that may {needs}, and that of {client.name} may {client.allow}"
        )
    if isinstance(message, Order) and message.stamp.client != client.name:
        return _refused(
            f"the key is {client.name}'s, the order is stamped {message.stamp.client!r}"
        )
    return None


def _refused(why: str) -> Ack:
    return Ack(ok=False, reason=DENIED, detail=why)
