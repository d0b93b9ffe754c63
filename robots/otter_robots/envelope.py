"""The wire format: `topic | envelope | blob`, packed and unpacked.

The envelope is MessagePack and says who published what, when and in which order; the message is
its `body`. A blob (a JPEG, say) travels beside it, uncopied. This file knows no socket.

An epoch is one run of a publisher: a persisted counter, so that epochs sort as text, and a random
tag, so that two runs that read the same counter still differ. Within an epoch `seq` counts the
messages of one topic from 1, so a hole in it is a loss.
"""

from __future__ import annotations

import secrets
import time
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Raw, Struct

from otter_robots.errors import WireError
from otter_robots.messages import MESSAGES, Count, Message, Name, Seq

VERSION = 1
# libzmq's own default is no limit at all; a message above this is dropped before it is read.
MAX_MESSAGE_BYTES = 1 << 20


class Envelope(Struct, frozen=True, kw_only=True):
    """What every message carries.

    `schema` is the message's class name, `version` the major version of all schemas. `mono_ns` and
    `wall_ns` are the moment of packing. `ttl_ms` None: valid until the next one. `origin` is
    `replay` for a recording played back, which no robot may act on. `reply_to` is the seq of the
    request that this replies to, None on the stream.
    """

    schema: Name
    version: Count
    topic: Name
    epoch: Name
    seq: Seq
    mono_ns: int
    wall_ns: int
    ttl_ms: Annotated[float, Meta(ge=0)] | None = None
    origin: Literal["live", "replay"] = "live"
    reply_to: Seq | None = None
    body: Raw


_encoder = msgspec.msgpack.Encoder()
_envelopes = msgspec.msgpack.Decoder(Envelope)
_bodies: dict[str, msgspec.msgpack.Decoder[Message]] = {
    message.__name__: msgspec.msgpack.Decoder(message) for message in MESSAGES
}


def new_epoch(counter: int) -> str:
    """An epoch that sorts by its counter, which the publisher persists and counts up per start."""
    return f"{counter:010d}-{secrets.token_hex(4)}"


def seal(
    message: Message,
    *,
    topic: str,
    epoch: str,
    seq: int,
    ttl_ms: float | None = None,
    reply_to: int | None = None,
) -> Envelope:
    """Wrap a message with the present time."""
    return Envelope(
        schema=type(message).__name__,
        version=VERSION,
        topic=topic,
        epoch=epoch,
        seq=seq,
        mono_ns=time.monotonic_ns(),
        wall_ns=time.time_ns(),
        ttl_ms=ttl_ms,
        reply_to=reply_to,
        body=Raw(_encoder.encode(message)),
    )


def containing(envelope: Envelope, message: Message) -> Envelope:
    """The same envelope around another message of its kind."""
    return msgspec.structs.replace(envelope, body=Raw(_encoder.encode(message)))


def pack(envelope: Envelope) -> bytes:
    """The envelope part; `unpack` is its inverse."""
    return _encoder.encode(envelope)


def unpack(data: bytes | memoryview) -> tuple[Envelope, Message]:
    """The envelope and its message.

    Raises WireError for any bytes that are not one, whatever they are: msgspec reports wrong types
    as ValidationError, broken text as UnicodeDecodeError (both ValueError) and deep nesting as
    RecursionError.
    """
    try:
        envelope = _envelopes.decode(data)
        if envelope.version != VERSION:
            raise WireError(f"schema version {envelope.version}, this side speaks {VERSION}")
        decoder = _bodies.get(envelope.schema)
        if decoder is None:
            raise WireError(f"unknown schema {envelope.schema!r}")
        return envelope, decoder.decode(envelope.body)
    except (ValueError, RecursionError) as error:
        raise WireError(f"not a message: {error}") from error


def as_dict(envelope: Envelope, message: Message) -> dict[str, object]:
    """One flat JSON-ready object: the envelope's fields, then the message's."""
    body = msgspec.to_builtins(message)
    assert isinstance(body, dict)
    names = [name for name in envelope.__struct_fields__ if name != "body" and name not in body]
    return {name: getattr(envelope, name) for name in names} | body
