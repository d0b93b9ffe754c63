"""Folders: where the sockets are, where the journal grows, where the keys lie, and how full.

It creates none of them.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

from otter_robots import endpoints
from otter_runtime import folders
from otter_runtime.config import RunConfig
from otter_runtime.doctor.finding import Finding, fail, ok, warn
from otter_runtime.doctor.host import Host
from otter_runtime.errors import OtterError
from otter_runtime.keyring import CLIENTS, SERVER, Keyring

MB = 1_000_000


def sockets(host: Host, config: RunConfig) -> Iterator[Finding]:
    """Whether the folder of the sockets is ours alone, or can be made."""
    folder = Path(config.bus.folder).absolute() if config.bus.folder else endpoints.run_folder()
    try:
        endpoints.check(config.bus.stream or endpoints.stream_endpoint(folder), keyed=True)
        endpoints.check(config.bus.requests or endpoints.requests_endpoint(folder), keyed=True)
    except OtterError as error:
        finding, _, remedy = str(error).rpartition("; ")
        yield fail("run folder", finding, remedy)
        return
    yield _writable("run folder", folder)


def state(host: Host, config: RunConfig) -> Iterator[Finding]:
    """Whether the journal can be written, and has room to grow."""
    folder = Path(config.bus.folder).absolute() if config.bus.folder else folders.state()
    yield _writable("state folder", folder)
    free_mb = shutil.disk_usage(_existing(folder)).free / MB
    wanted_mb = config.bus.keep_mb + config.health.reserve_mb
    found = f"{free_mb / 1e3:.1f} GB free at {_existing(folder)}"
    remedy = f"free some, or lower bus.keep_mb ({config.bus.keep_mb:g})"
    if free_mb < config.health.reserve_mb:
        yield fail("disk", f"{found}; the runtime would not be ready", remedy)
    elif free_mb < wanted_mb:
        yield warn("disk", f"{found}; the journal may grow to {config.bus.keep_mb:g} MB", remedy)
    else:
        yield ok("disk", found)


def keys(host: Host, config: RunConfig) -> Iterator[Finding]:
    """Whether nobody else can read the keys, and the allow-list can be read."""
    given = config.bus.keys
    folder = Path(given).expanduser().absolute() if given else folders.keys()
    if not folder.exists():
        if given:
            yield fail(
                "keys", f"there is no {folder}", "make them: otter-edge keys make NAME --allow ask"
            )
        else:
            yield ok("keys", "none; the bus stays on this machine")
        return
    try:
        clients = _clients(folder)
    except OtterError as error:
        finding, _, remedy = str(error).rpartition("; ")
        yield fail("keys", finding or remedy, remedy)
        return
    loose = [path for path in folder.iterdir() if _open_to_others(path)]
    if loose:
        remedy = f"chmod 600 {' '.join(map(str, loose))}, and make the keys anew if others log in"
        yield fail("keys", f"others may read {loose[0]}", remedy)
    else:
        yield ok("keys", f"{clients} clients in {folder}")


def _clients(folder: Path) -> int:
    ring = Keyring(folder)
    if (folder / SERVER).exists():
        ring.server()
    if (folder / CLIENTS).exists():
        ring.reload()
    return len(ring.clients)


def _writable(check: str, folder: Path) -> Finding:
    nearest = _existing(folder)
    if os.access(nearest, os.W_OK | os.X_OK):
        return ok(check, str(folder))
    remedy = f"sudo chown $USER {nearest}, or give --folder another one"
    return fail(check, f"you may not write into {nearest}", remedy)


def _existing(folder: Path) -> Path:
    return next(path for path in (folder, *folder.parents) if path.exists())


def _open_to_others(path: Path) -> bool:
    found = path.lstat()
    return stat.S_ISREG(found.st_mode) and bool(found.st_mode & 0o077)
