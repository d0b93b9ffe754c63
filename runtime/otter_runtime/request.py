"""A request as it came: what is asked, by which connection, with which key.

It knows the wire format and which messages are requests; it does not know who may ask what.
"""

from __future__ import annotations

from dataclasses import dataclass

from otter_robots.envelope import Envelope, unpack
from otter_robots.errors import WireError
from otter_robots.messages import Exemplar, Message, Picture
from otter_robots.topics import REQUESTS


@dataclass(frozen=True)
class Request:
    """A well-formed request and the peer that a reply goes to; `blobs` are its picture files.

    `key` is the public key of the connection, empty where it needs none: this user, this machine.
    """

    peer: bytes
    envelope: Envelope
    message: Message
    blobs: tuple[bytes, ...] = ()
    key: str = ""


def read(parts: list[bytes], key: str = "") -> Request:
    """A ROUTER's parts as a request; raises WireError for whatever is none."""
    if len(parts) < 2:
        raise WireError(f"{len(parts)} parts, a request has a peer and an envelope")
    envelope, message = unpack(parts[1])
    if len(parts) - 2 != _pictures(message):
        raise WireError(f"{envelope.schema} with {len(parts) - 2} blobs, not {_pictures(message)}")
    if type(message) not in REQUESTS or envelope.origin != "live":
        raise WireError(f"{envelope.schema} from {envelope.origin} is no request")
    return Request(parts[0], envelope, message, tuple(parts[2:]), key)


def _pictures(message: Message) -> int:
    """How many files travel with it."""
    if isinstance(message, Exemplar):
        return len(message.images)
    return int(isinstance(message, Picture))
