"""Where the two sockets are: the default addresses, and which addresses are refused.

Without keys the bus stays on this machine: `ipc://` in a folder that only its owner can enter, or
`tcp://` on loopback. Any other `tcp://` takes keys on both sides. The client checks as well, so
that a robot does not listen to whoever created the folder first.
"""

from __future__ import annotations

import ipaddress
import os
import stat
import tempfile
from pathlib import Path

from otter_robots.errors import AddressRefused

# sun_path holds 108 bytes with its closing zero.
MAX_IPC_PATH_BYTES = 107


def run_folder() -> Path:
    """`$XDG_RUNTIME_DIR/otter-edge`, or a per-user folder under the temporary one."""
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if runtime and Path(runtime).is_dir():
        return Path(runtime) / "otter-edge"
    return Path(tempfile.gettempdir()) / f"otter-edge-{os.geteuid()}"


def stream_endpoint(folder: Path | None = None) -> str:
    """Where a runtime publishes unless it is told otherwise."""
    return f"ipc://{(folder or run_folder()).absolute()}/stream"


def requests_endpoint(folder: Path | None = None) -> str:
    """Where a runtime takes requests unless it is told otherwise."""
    return f"ipc://{(folder or run_folder()).absolute()}/requests"


def ipc_path(endpoint: str) -> Path | None:
    """The socket's path, or None where the endpoint is not ipc."""
    scheme, _, path = endpoint.partition("://")
    return Path(path) if scheme == "ipc" else None


def check(endpoint: str, keyed: bool = False) -> None:
    """Raise AddressRefused unless the endpoint stays on this machine and with this user.

    Where both sides have keys (`keyed`), tcp may go anywhere.
    """
    scheme, _, rest = endpoint.partition("://")
    if scheme == "ipc":
        _check_ipc(endpoint, rest)
    elif scheme == "tcp":
        _check_tcp(endpoint, rest, keyed)
    else:
        raise AddressRefused(
            f"{endpoint!r} is no endpoint; use ipc:///path or tcp://127.0.0.1:port"
        )


def _check_tcp(endpoint: str, rest: str, keyed: bool) -> None:
    host, _, port = rest.rpartition(":")
    if not host or not (keyed or is_loopback(host.strip("[]"))):
        raise AddressRefused(
            f"{endpoint} is not on this machine, and beyond it the bus takes keys; make them with "
            "`otter-edge keys make` and give --keys to the runtime, --key to the client, or use "
            "tcp://127.0.0.1:port or ipc:///path"
        )
    if port != "*" and not (port.isdecimal() and int(port) < 65536):
        raise AddressRefused(f"{endpoint} needs a port from 0 to 65535 after the last colon")


def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _check_ipc(endpoint: str, path: str) -> None:
    if not path.startswith("/"):
        raise AddressRefused(f"{endpoint} needs an absolute path; write ipc:///path/to/socket")
    if len(os.fsencode(path)) > MAX_IPC_PATH_BYTES:
        raise AddressRefused(
            f"{endpoint} has a path of {len(os.fsencode(path))} bytes, "
            f"a socket's may have {MAX_IPC_PATH_BYTES}; use a shorter one"
        )
    _check_private(Path(path).parent)


def _check_private(folder: Path) -> None:
    try:
        found = folder.lstat()
    except FileNotFoundError:
        return
    mode = stat.S_IMODE(found.st_mode)
    if stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not mode & 0o077:
        return
    raise AddressRefused(
        f"{folder} is not a folder that only you can enter (owner {found.st_uid}, mode {mode:o}); "
        f"use another, or `chmod 700 {folder}` if it is yours"
    )
