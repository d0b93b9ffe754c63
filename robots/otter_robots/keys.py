"""A client's key: the file that a robot is handed, and what a key file has to be like to be read.

It knows files, not sockets. A key file is JSON, belongs to its reader and is readable to nobody
else; keys are written as Z85, the 40 characters that ZeroMQ takes.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Annotated, TypeVar

import msgspec
import zmq
from msgspec import Meta, Struct

from otter_robots.errors import KeyFileRefused

Z85 = Annotated[str, Meta(pattern=r"^[0-9a-zA-Z.\-:+=^!/*?&<>()\[\]{}@%$#]{40}$")]
# A name is a file's name as well.
KeyName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
MAX_FILE_BYTES = 1 << 20

Kind = TypeVar("Kind")


class Pair(Struct, frozen=True, kw_only=True):
    """A public key and the secret that belongs to it; the secret is not shown."""

    public: Z85
    secret: Z85

    def __repr__(self) -> str:
        return f"{type(self).__name__}(public={self.public!r})"


class Key(Pair, frozen=True, kw_only=True):
    """Who a client is (`name`, its pair) and whom it trusts: the runtime with `server`."""

    name: KeyName
    server: Z85

    def __repr__(self) -> str:
        return f"Key(name={self.name!r}, public={self.public!r})"


def read(path: Path) -> Key:
    """The key in a file that `otter-edge keys make` wrote.

    Raises KeyFileRefused for a file that is missing, readable to others, or no key.
    """
    key = load(path, Key)
    check(key, path)
    return key


def check(pair: Pair, path: Path) -> None:
    """Raise KeyFileRefused unless the two belong together."""
    try:
        same = zmq.curve_public(pair.secret.encode()) == pair.public.encode()
    except zmq.ZMQError:
        same = False
    if not same:
        raise KeyFileRefused(
            f"{path} has a secret that does not belong to its public key; make it anew"
        )


def load(path: Path, kind: type[Kind]) -> Kind:
    """A private JSON file as this type; raises KeyFileRefused."""
    try:
        with open(path, "rb") as file:
            _check_private(path, os.fstat(file.fileno()))
            data = file.read(MAX_FILE_BYTES)
    except OSError as error:
        raise KeyFileRefused(
            f"{path} cannot be read ({error.strerror}); give the file that `otter-edge keys make` "
            "wrote"
        ) from error
    try:
        return msgspec.json.decode(data, type=kind)
    except (ValueError, RecursionError) as error:
        raise KeyFileRefused(f"{path} is no key file ({error}); make it anew") from error


def _check_private(path: Path, found: os.stat_result) -> None:
    mode = stat.S_IMODE(found.st_mode)
    if found.st_uid not in (os.geteuid(), 0) or mode & 0o077 or not stat.S_ISREG(found.st_mode):
        raise KeyFileRefused(
            f"{path} must be a file that only you can read "
            f"(owner {found.st_uid}, mode {mode:o}); if nobody else has seen it, "
            f"`chmod 600 {path}`, else revoke it and make another"
        )
