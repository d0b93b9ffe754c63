"""foxglove.CompressedImage, in protobuf, as viewers of MCAP know it.

The message has four fields and has not changed since it was published, so it is written here by
hand, and a device needs no protobuf. `SCHEMA` is the FileDescriptorSet that viewers read it by, of
foxglove-schemas-protobuf 0.4.0 with google/protobuf/timestamp.proto.
"""

from __future__ import annotations

import base64

from otter_runtime.errors import TrialError

NAME = "foxglove.CompressedImage"
SCHEMA = base64.b64decode(
    "CncKH2dvb2dsZS9wcm90b2J1Zi90aW1lc3RhbXAucHJvdG8SD2dvb2dsZS5wcm90b2J1ZiI7CglUaW1lc3RhbXASGAoH"
    "c2Vjb25kcxgBIAEoA1IHc2Vjb25kcxIUCgVuYW5vcxgCIAEoBVIFbmFub3NiBnByb3RvMwrFAQoeZm94Z2xvdmUvQ29t"
    "cHJlc3NlZEltYWdlLnByb3RvEghmb3hnbG92ZRofZ29vZ2xlL3Byb3RvYnVmL3RpbWVzdGFtcC5wcm90byJwCg9Db21w"
    "cmVzc2VkSW1hZ2USLQoJdGltZXN0YW1wGAEgASgLMhouZ29vZ2xlLnByb3RvYnVmLlRpbWVzdGFtcBIQCghmcmFtZV9p"
    "ZBgEIAEoCRIMCgRkYXRhGAIgASgMEg4KBmZvcm1hdBgDIAEoCWIGcHJvdG8z"
)
_TIMESTAMP, _DATA, _FORMAT, _FRAME_ID = 1, 2, 3, 4
_VARINT, _BYTES = 0, 2


def pack(wall_ns: int, frame_id: str, file: bytes, encoding: str) -> bytes:
    """The message: when it was taken, by which camera, and a `jpeg` or `png` file."""
    seconds, nanos = divmod(wall_ns, 1_000_000_000)
    # A default is left out, as protobuf's own encoders do.
    parts = [_integer(1, seconds) if seconds else b"", _integer(2, nanos) if nanos else b""]
    fields = [
        _bytes(_TIMESTAMP, b"".join(parts)),
        _bytes(_DATA, file),
        _bytes(_FORMAT, encoding.encode()),
        _bytes(_FRAME_ID, frame_id.encode()),
    ]
    return b"".join(fields)


def picture(message: bytes) -> bytes:
    """The file within a message. Raises TrialError where there is none."""
    at = 0
    try:
        while at < len(message):
            key, at = _read(message, at)
            length, at = _read(message, at)
            if key & 7 != _BYTES:
                break
            if key >> 3 == _DATA and at + length <= len(message):
                return message[at : at + length]
            at += length
    except IndexError:
        pass
    raise TrialError("a recorded picture is no foxglove.CompressedImage; repair the trial")


def _integer(number: int, value: int) -> bytes:
    return _varint(number << 3 | _VARINT) + _varint(value)


def _bytes(number: int, value: bytes) -> bytes:
    return _varint(number << 3 | _BYTES) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _read(data: bytes, at: int) -> tuple[int, int]:
    """A varint at `at`, and where it ends."""
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
