"""A request as it came: what is asked, by which connection, with which key.

It knows the wire format and which messages are requests; it does not know who may ask what.
"""

from __future__ import annotations

from dataclasses import dataclass

from otter_robots.envelope import Envelope, unpack
from otter_robots.errors import WireError
from otter_robots.messages import Message, Picture
from otter_robots.topics import REQUESTS


@dataclass(frozen=True)
class Request:
    """A well-formed request and the peer that a reply goes to; `blob` is a Picture's file.

    `key` is the public key of the connection, empty where it needs none: this user, this machine.
    """

    peer: bytes
    envelope: Envelope
    message: Message
    blob: bytes = b""
    key: str = ""


def read(parts: list[bytes], key: str = "") -> Request:
    """A ROUTER's parts as a request; raises WireError for whatever is none."""
    if len(parts) not in (2, 3):
        raise WireError(f"{len(parts)} parts, a request has a peer and an envelope")
    envelope, message = unpack(parts[1])
    if isinstance(message, Picture) != (len(parts) == 3):
        raise WireError(f"{envelope.schema} in {len(parts)} parts; a picture has a blob, alone")
    if type(message) not in REQUESTS or envelope.origin != "live":
        raise WireError(f"{envelope.schema} from {envelope.origin} is no request")
    return Request(parts[0], envelope, message, b"".join(parts[2:]), key)
