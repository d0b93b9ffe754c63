"""The wire format: every message survives the trip, and no bytes whatever raise anything else."""

from __future__ import annotations

import contextlib
import json
import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import inspect

from otter_robots.envelope import VERSION, Envelope, as_dict, new_epoch, pack, seal, unpack
from otter_robots.errors import WireError
from otter_robots.messages import MESSAGES, Ack, Message, Question

QUESTION = Question(id="q1", text="What should I do next?")


def values(kind: inspect.Type) -> st.SearchStrategy[object]:
    """Every value that a field of this type may hold."""
    if isinstance(kind, inspect.UnionType):
        return st.one_of([values(one) for one in kind.types])
    if isinstance(kind, inspect.NoneType):
        return st.none()
    if isinstance(kind, inspect.BoolType):
        return st.booleans()
    if isinstance(kind, inspect.IntType):
        low, high = kind.ge, kind.le
        return st.integers(-(2**63) if low is None else low, 2**63 - 1 if high is None else high)
    if isinstance(kind, inspect.FloatType):
        return st.floats(
            kind.ge if kind.gt is None else kind.gt,
            kind.le,
            exclude_min=kind.gt is not None,
            allow_nan=False,
            allow_infinity=False,
            # A process in which an engine ran may round denormals to zero.
            allow_subnormal=False,
        )
    if isinstance(kind, inspect.StrType) and kind.pattern:
        return st.from_regex(kind.pattern, fullmatch=True).map(lambda text: text[:64])
    if isinstance(kind, inspect.StrType):
        return st.text(min_size=kind.min_length or 0, max_size=min(kind.max_length or 99, 99))
    if isinstance(kind, inspect.LiteralType):
        return st.sampled_from(kind.values)
    if isinstance(kind, inspect.VarTupleType):
        most = 2 if isinstance(kind.item_type, inspect.StructType) else min(9, kind.max_length or 9)
        return st.lists(values(kind.item_type), min_size=kind.min_length or 0, max_size=most).map(
            tuple
        )
    if isinstance(kind, inspect.StructType):
        fields = {field.name: values(field.type) for field in kind.fields}
        return st.fixed_dictionaries(fields).map(lambda given: kind.cls(**given))
    if isinstance(kind, inspect.DictType):
        return st.dictionaries(values(kind.key_type), values(kind.value_type), max_size=9)
    raise NotImplementedError(f"no strategy for {kind}")


def messages(kind: type[Message]) -> st.SearchStrategy[Message]:
    fields = inspect.type_info(kind)
    assert isinstance(fields, inspect.StructType)
    return st.builds(kind, **{field.name: values(field.type) for field in fields.fields})


@given(message=st.one_of([messages(kind) for kind in MESSAGES]))
def test_every_message_round_trips(message: Message) -> None:
    envelope = seal(message, topic="t", epoch=new_epoch(3), seq=4, ttl_ms=5.0, reply_to=6)
    received, body = unpack(pack(envelope))
    assert body == message
    assert received == envelope


@given(message=st.one_of([messages(kind) for kind in MESSAGES]))
def test_every_message_is_json(message: Message) -> None:
    flat = as_dict(seal(message, topic="t", epoch="e", seq=1), message)
    assert json.loads(json.dumps(flat))["schema"] == type(message).__name__


@given(data=st.binary(max_size=300))
def test_random_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(WireError):
        unpack(data)


@given(data=st.data())
def test_mutated_messages_are_read_or_refused(data: st.DataObject) -> None:
    blob = bytearray(pack(seal(QUESTION, topic="request", epoch="e", seq=1)))
    for _ in range(data.draw(st.integers(1, 4))):
        blob[data.draw(st.integers(0, len(blob) - 1))] = data.draw(st.integers(0, 255))
    blob = blob[: data.draw(st.integers(0, len(blob)))]
    with contextlib.suppress(WireError):
        unpack(bytes(blob))


@pytest.mark.parametrize("depth_byte", [b"\x91", b"\x81"])
def test_deep_nesting_is_refused(depth_byte: bytes) -> None:
    with pytest.raises(WireError):
        unpack(depth_byte * 100_000)
    sealed = seal(QUESTION, topic="request", epoch="e", seq=1)
    deep = msgspec.structs.replace(
        sealed, body=msgspec.Raw(b"\x81\xa4type" + depth_byte * 100_000 + b"\xc0")
    )
    with pytest.raises(WireError):
        unpack(pack(deep))


def wire(**changes: object) -> bytes:
    """A packed question whose envelope is changed field by field, past our own checks."""
    fields = msgspec.msgpack.decode(pack(seal(QUESTION, topic="request", epoch="e", seq=1)))
    return msgspec.msgpack.encode(fields | changes)


def body(**changes: object) -> dict[str, object]:
    return {"type": "Question", "id": "q1", "text": "Where?", **changes}


def test_unknown_fields_are_ignored() -> None:
    envelope, message = unpack(wire(later=[1, 2], body=body(later={"a": 1})))
    assert message == Question(id="q1", text="Where?")
    assert envelope.seq == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"version": VERSION + 1},
        {"schema": "Nonsense"},
        {"schema": "Cancel"},
        {"seq": -1},
        {"origin": "elsewhere"},
        {"ttl_ms": math.nan},
        {"topic": "t" * 65},
        {"body": body(id="")},
        {"body": body(text="x" * 4097)},
        {"body": body(priority=math.inf)},
        {"body": body(deadline_ms=0)},
        {"body": None},
    ],
)
def test_what_is_out_of_bounds_is_refused(changes: dict[str, object]) -> None:
    unpack(wire())
    with pytest.raises(WireError):
        unpack(wire(**changes))


def test_epochs_sort_by_their_counter() -> None:
    epochs = [new_epoch(counter) for counter in (0, 1, 2, 9, 10, 99, 100, 2**31)]
    assert epochs == sorted(epochs)
    assert new_epoch(7) != new_epoch(7)


def test_a_message_on_the_wire_is_what_other_languages_expect() -> None:
    envelope = Envelope(
        schema="Ack", version=1, topic="reply", epoch="e", seq=2, mono_ns=3, wall_ns=4,
        body=msgspec.Raw(msgspec.msgpack.encode(Ack())),
    )  # fmt: skip
    assert msgspec.msgpack.decode(pack(envelope)) == {
        "schema": "Ack",
        "version": 1,
        "topic": "reply",
        "epoch": "e",
        "seq": 2,
        "mono_ns": 3,
        "wall_ns": 4,
        "ttl_ms": None,
        "origin": "live",
        "reply_to": None,
        "body": {"type": "Ack", "ok": True, "detail": "", "retry_ms": None, "reason": ""},
    }
