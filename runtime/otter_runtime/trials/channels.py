"""The table of what a trial holds: one channel per kind of message, with its schema.

It derives from the bus's topics and requests and from what the front and the brain say to each
other; it does not know files. Everything but the pictures is JSON with its JSON Schema, so that a
viewer, a script and a person read it alike:

    /answer ...        what was published, each message under its own name
    /request/...       what came in over the bus
    /order/..., /event/...   what the brain was told, and said
    /order/show        which frame the brain was shown, and the digest of its pixels
    /camera            that frame, as foxglove.CompressedImage
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any

import msgspec

from otter_robots.envelope import Envelope, as_dict
from otter_robots.messages import Abstain, Answer, AnswerDelta, Message
from otter_robots.topics import REQUESTS, TOPICS
from otter_runtime import wire
from otter_runtime.errors import TrialError
from otter_runtime.frame import Stamp
from otter_runtime.trials import foxglove

CAMERA = "/camera"
JSON, PROTOBUF, JSON_SCHEMA = "json", "protobuf", "jsonschema"
# Frames have a message of their own; pieces are published; heartbeats say nothing about a trial.
_LEFT_OUT = (wire.Show, wire.Piece, wire.Alive)


class Show(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A frame that the brain was shown, (height, width, 3), and the digest of its pixels.

    `encoding` is that of the picture beside it on /camera, "" where there was no room for it.
    """

    stamp: Stamp
    height: int
    width: int
    encoding: str = ""
    digest: str = ""


class Load(msgspec.Struct, frozen=True, tag=True):
    """Another bundle answers from now on; None is the run's own."""

    bundle: str | None


@dataclass(frozen=True)
class Channel:
    """One kind of message: its topic in the file, and how it is written there."""

    topic: str
    schema_name: str
    schema: bytes
    encoding: str = JSON

    @property
    def schema_encoding(self) -> str:
        """What the schema is written in."""
        return JSON_SCHEMA if self.encoding == JSON else PROTOBUF


def published(message: type[Message]) -> str:
    """The topic in the file of a message on the bus: /answer, /abstain, /delta."""
    for topic in TOPICS.values():
        if message in topic.messages:
            first = message is topic.messages[0]
            return f"/{topic.name if first else message.__name__.lower()}"
    raise KeyError(message.__name__)


def requested(message: type[Message]) -> str:
    """The topic in the file of a request."""
    return f"/request/{message.__name__.lower()}"


def ordered(order: type[msgspec.Struct]) -> str:
    """The topic in the file of what the brain was told."""
    return f"/order/{order.__name__.lower()}"


def told(event: type[msgspec.Struct]) -> str:
    """The topic in the file of what the brain said."""
    return f"/event/{event.__name__.lower()}"


@cache
def channels() -> dict[str, Channel]:
    """Every channel by its topic, in an order that stands in every file."""
    found = [Channel(CAMERA, foxglove.NAME, foxglove.SCHEMA, PROTOBUF)]
    for message in (one for topic in TOPICS.values() for one in topic.messages):
        found.append(_json(published(message), message, Envelope))
    found += [_json(requested(one), one, Envelope) for one in REQUESTS]
    found += [_json(ordered(one), one) for one in (Show, Load)]
    found += [_json(ordered(one), one) for one in _said(wire.Order)]
    found += [_json(told(one), one) for one in _said(wire.Event)]
    return {channel.topic: channel for channel in found}


def kinds() -> dict[str, type[msgspec.Struct]]:
    """The struct that each JSON topic holds."""
    found: dict[str, type[msgspec.Struct]] = {ordered(one): one for one in (Show, Load)}
    found |= {published(m): m for topic in TOPICS.values() for m in topic.messages}
    found |= {requested(one): one for one in REQUESTS}
    found |= {ordered(one): one for one in _said(wire.Order)}
    return found | {told(one): one for one in _said(wire.Event)}


def enveloped(envelope: Envelope, message: Message, **more: str) -> bytes:
    """A message on the bus as it is written: the envelope's fields and its own, flat."""
    return msgspec.json.encode(as_dict(envelope, message) | more)


# What stands on the bus, and what of that a model's answers are made of.
PUBLISHED = {published(one) for topic in TOPICS.values() for one in topic.messages}
MADE_ANEW = {published(one) for one in (Answer, Abstain, AnswerDelta)}


def opened(data: bytes) -> tuple[Envelope, Message]:
    """What `enveloped` wrote. Raises TrialError where it is nothing that this version publishes."""
    try:
        said = msgspec.json.decode(data)
        message = msgspec.convert(said, type=_messages()[said["schema"]])
        body = msgspec.Raw(msgspec.msgpack.encode(message))
        return msgspec.convert(said | {"body": body}, type=Envelope), message
    except (ValueError, KeyError, TypeError) as error:
        raise TrialError(
            f"a message that was published cannot be read ({error}); "
            "read the trial with the version it is from"
        ) from error


@cache
def _messages() -> dict[str, type[Message]]:
    return {one.__name__: one for topic in TOPICS.values() for one in topic.messages}


def _said(union: Any) -> Iterable[type[msgspec.Struct]]:
    return [one for one in typing.get_args(union) if one not in _LEFT_OUT]


def _json(topic: str, kind: type[msgspec.Struct], around: type | None = None) -> Channel:
    types = (kind, around) if around else (kind,)
    _, parts = msgspec.json.schema_components(types, ref_template="#/$defs/{name}")
    for part in parts.values():
        # Python 3.13 dedents docstrings, older ones do not.
        part["description"] = inspect.cleandoc(part.get("description", ""))
    schema = parts.pop(kind.__name__)
    if around:
        outer = parts.pop(around.__name__)["properties"]
        outer = {name: part for name, part in outer.items() if name != "body"}
        schema["properties"] = outer | schema["properties"]
    whole = {**schema, **({"$defs": parts} if parts else {})}
    return Channel(topic, f"otter.{kind.__name__}", msgspec.json.encode(whole))
