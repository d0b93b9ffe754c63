"""Holds an ipc path for one process.

libzmq unlinks a socket file that is there and binds its own, so a second process would silently
take the first one's place. A lock file beside the socket says who holds it; the kernel drops the
lock when its process ends, however it ends.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from otter_runtime.errors import AddressRefused, PortInUse


class IpcLock:
    """Makes the folder (mode 700) and takes the lock; raises PortInUse or AddressRefused."""

    def __init__(self, path: Path) -> None:
        self.path = path
        lock = path.with_name(path.name + ".lock")
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._file = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise AddressRefused(
                f"{path.parent} cannot hold a socket ({error.strerror}); give another --folder"
            ) from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._file)
            raise PortInUse(f"ipc://{path}") from error

    def release(self) -> None:
        """Remove the socket file and let the path go; the lock file stays, it is what is locked."""
        self.path.unlink(missing_ok=True)
        os.close(self._file)
