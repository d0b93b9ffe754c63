"""The folder of keys: who the runtime is, and which clients it knows and what each may do.

    server.json     the runtime's own pair
    clients.json    the allow-list: names, public keys, permissions; no secret
    NAME.client     what that client is handed, with its own secret and the runtime's public key

Every file is private and replaced as a whole, so that a runtime that watches the allow-list never
reads half of one. It knows files, no sockets; `doorman` lets nobody in who is not here.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path

import msgspec
import zmq

from otter_robots import keys
from otter_robots.errors import KeyFileRefused, UserError
from otter_robots.keys import Key, KeyName, Pair
from otter_robots.topics import ALLOW, Allow
from otter_runtime.durable import sync_folder

SERVER, CLIENTS = "server.json", "clients.json"


class Client(msgspec.Struct, frozen=True, kw_only=True):
    """A line of the allow-list; `made` is a date and a time in UTC."""

    name: KeyName
    public: keys.Z85
    allow: Allow
    made: str = ""

    def may(self, allow: Allow) -> bool:
        """Whether its permission includes this one."""
        return ALLOW.index(allow) <= ALLOW.index(self.allow)


class Keyring:
    """A folder of keys; `clients` by their public keys, as of the last `reload`.

    Raises KeyFileRefused where the folder or a file in it can be entered or read by others.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clients: dict[str, Client] = {}
        self._seen: tuple[int, ...] = ()
        _check_folder(folder)

    # What a runtime needs.

    def server(self) -> Pair:
        """The runtime's pair."""
        path = self.folder / SERVER
        pair = keys.load(path, Pair)
        keys.check(pair, path)
        return pair

    def reload(self) -> bool:
        """Read the allow-list where it changed; whether it did. Raises KeyFileRefused."""
        seen = _state(self.folder / CLIENTS)
        if seen == self._seen:
            return False
        self._seen, self.clients = (), {}  # nobody, for as long as it cannot be read
        self.clients = {client.public: client for client in self.listed()}
        self._seen = seen
        return True

    # What a person does.

    def make(self, name: str, allow: Allow) -> Path:
        """Let a new client in and give its file; raises UserError for a name that is taken."""
        with self._writing():
            listed = self.listed()
            if any(client.name == name for client in listed):
                raise UserError(f"{name} has a key; revoke it first, or choose another name")
            public, secret = (part.decode() for part in zmq.curve_keypair())
            key = _valid(
                Key(name=name, server=self._made_server().public, public=public, secret=secret)
            )
            made = datetime.now(timezone.utc).isoformat(timespec="seconds")
            path = self.folder / f"{name}.client"
            _write(path, key)
            line = Client(name=name, public=public, allow=allow, made=made)
            _write(self.folder / CLIENTS, [*listed, line])
            return path

    def revoke(self, name: str) -> None:
        """Let a client in no longer; raises UserError where there is none of this name."""
        with self._writing():
            listed = self.listed()
            left = [client for client in listed if client.name != name]
            if len(left) == len(listed):
                names = ", ".join(client.name for client in listed) or "nobody"
                raise UserError(f"there is no key of {name!r}; allowed: {names}")
            _write(self.folder / CLIENTS, left)
            (self.folder / f"{name}.client").unlink(missing_ok=True)

    def listed(self) -> list[Client]:
        """Everybody who is allowed, oldest first. Raises KeyFileRefused."""
        path = self.folder / CLIENTS
        return keys.load(path, list[Client]) if path.exists() else []

    def _made_server(self) -> Pair:
        path = self.folder / SERVER
        if not path.exists():
            public, secret = (part.decode() for part in zmq.curve_keypair())
            _write(path, Pair(public=public, secret=secret))
        return self.server()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """One writer at a time."""
        lock = os.open(self.folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)


def make_folder(folder: Path) -> Keyring:
    """The keyring in this folder, which is made where it is missing."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise KeyFileRefused(
            f"{folder} cannot hold keys ({error.strerror}); give another with --keys"
        ) from error
    return Keyring(folder)


def _check_folder(folder: Path) -> None:
    try:
        found = folder.stat()
    except OSError as error:
        raise KeyFileRefused(
            f"there are no keys in {folder} ({error.strerror}); make them with "
            "`otter-edge keys make NAME --allow ask`"
        ) from error
    if found.st_uid not in (os.geteuid(), 0) or found.st_mode & 0o077 or not folder.is_dir():
        raise KeyFileRefused(
            f"{folder} must be a folder that only you can enter (owner {found.st_uid}, "
            f"mode {found.st_mode & 0o777:o}); `chmod 700 {folder}` if it is yours"
        )


def _state(path: Path) -> tuple[int, ...]:
    """Differs whenever the file is another one."""
    try:
        found = path.stat()
    except OSError:
        return (0,)
    return found.st_ino, found.st_mtime_ns, found.st_size, found.st_mode, found.st_uid


def _valid(key: Key) -> Key:
    try:
        return msgspec.convert(msgspec.to_builtins(key), Key)
    except msgspec.ValidationError as error:
        raise UserError(
            f"{key.name!r} is no name for a key; use letters, digits, dots and dashes, at most 64"
        ) from error


def _write(path: Path, content: object) -> None:
    """All of it or nothing, on disk when this returns."""
    new = path.with_name(f".{path.name}.new")
    data = msgspec.json.format(msgspec.json.encode(content), indent=2) + b"\n"
    try:
        file = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        with open(file, "wb") as opened:
            opened.write(data)
            opened.flush()
            os.fsync(opened.fileno())
        os.replace(new, path)
        sync_folder(path.parent)
    except OSError as error:
        raise UserError(f"{path} cannot be written ({error.strerror}); free some space") from error
