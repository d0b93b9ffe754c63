"""MAVLink 2 signing (https://mavlink.io/en/guide/message_signing.html): key file, stamps, check.

It knows keys and stamps, not links. pymavlink 2.4.50's own check notes a packet's stamp before it
has verified the signature, so that one forged packet with a stamp from the future silences the
true sender; here the signature comes first. It also counts stamps up from the start only, whereas
a receiver that starts anew wants them within a minute of its clock; here they follow the clock.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import stat
import time
from pathlib import Path

import msgspec
from pymavlink.dialects.v20 import common

from otter_robots.errors import UserError

# Stamps are in 10 µs since 1 January 2015, in 48 bits.
EPOCH_S = 1_420_070_400
PER_S = 100_000
# How far a sender that was never heard before may be behind.
NEW_STREAM = 60 * PER_S
SAVE_S = 10.0

Stream = tuple[int, int, int]  # link, system, component


def stamp_now() -> int:
    """The clock as a stamp; 0 while it has not been set."""
    return max(0, int((time.time() - EPOCH_S) * PER_S))


def make_key(path: Path) -> None:
    """A new key in a new file that only its owner reads; raises UserError where one exists."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise UserError(
            f"{path} cannot be made ({error.strerror}); name a file that does not exist"
        ) from error
    with os.fdopen(descriptor, "w") as file:
        file.write(secrets.token_hex(32) + "\n")


def read_key(path: Path) -> bytes:
    """The 32 bytes of a key file; raises UserError unless only its owner can read it."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError as error:
        raise UserError(
            f"{path} cannot be read ({error.strerror}); make a key with --make-key"
        ) from error
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        mode = stat.S_IMODE(found.st_mode)
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid() or mode & 0o077:
            raise UserError(f"{path} (mode {mode:o}) is not yours alone; `chmod 600 {path}`")
        text = file.read(200)
    try:
        key = bytes.fromhex(text.decode("ascii").strip())
    except ValueError:
        key = b""
    if len(key) != 32:
        raise UserError(f"{path} is no key of 64 hexadecimal digits; make one with --make-key")
    return key


class Signer(common.MAVLink):  # type: ignore[misc]
    """pymavlink's parser and packer, signing with a key and refusing what is not signed with it.

    `stamps` is a file that keeps the newest stamp of every sender and our own, so that a packet
    replayed after a restart is refused too; after a crash, all but those of the last `SAVE_S`.
    """

    def __init__(self, system: int, component: int, key: bytes, link: int, stamps: Path) -> None:
        super().__init__(None, system, component)
        self.signing.secret_key = key
        self.signing.link_id = link
        self.signing.sign_outgoing = True
        self._stamps = stamps
        self._saved_at_s = time.monotonic()
        own, self.signing.stream_timestamps = _load(stamps)
        self.signing.timestamp = max(own, stamp_now())

    def keep_time(self) -> None:
        """Let our stamps follow the clock, and save all stamps now and then."""
        self.signing.timestamp = max(self.signing.timestamp, stamp_now())
        if time.monotonic() - self._saved_at_s > SAVE_S:
            self.save()

    def save(self) -> None:
        """Write the stamps; a disk that fails costs the protection across restarts only."""
        self._saved_at_s = time.monotonic()
        streams = [[*stream, at] for stream, at in self.signing.stream_timestamps.items()]
        data = msgspec.json.encode({"own": self.signing.timestamp, "streams": streams})
        new = self._stamps.with_name(self._stamps.name + ".new")
        try:
            new.write_bytes(data)
            new.replace(self._stamps)
        except OSError:
            return

    def check_signature(self, msgbuf: bytearray, srcSystem: int, srcComponent: int) -> bool:  # noqa: N803
        """Whether a packet is signed with our key and newer than all before it of its stream."""
        signed = hashlib.sha256(self.signing.secret_key + bytes(msgbuf[:-6])).digest()[:6]
        if not hmac.compare_digest(signed, bytes(msgbuf[-6:])):
            return False
        stream = (msgbuf[-13], srcSystem, srcComponent)
        stamp = int.from_bytes(msgbuf[-12:-6], "little")
        own = max(self.signing.timestamp, stamp_now())
        oldest = self.signing.stream_timestamps.get(stream, own - NEW_STREAM - 1)
        if stamp <= oldest:
            return False
        self.signing.stream_timestamps[stream] = stamp
        self.signing.timestamp = max(self.signing.timestamp, stamp)
        return True


class _Stamps(msgspec.Struct):
    own: int
    streams: list[tuple[int, int, int, int]]


def _load(path: Path) -> tuple[int, dict[Stream, int]]:
    try:
        kept = msgspec.json.decode(path.read_bytes(), type=_Stamps)
    except FileNotFoundError:
        return 0, {}
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path} cannot be read, and without it replayed packets pass ({error}); "
            "delete it only if you know why it is broken"
        ) from error
    return kept.own, {(link, system, part): at for link, system, part, at in kept.streams}
