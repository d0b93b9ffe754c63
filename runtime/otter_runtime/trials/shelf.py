"""The folder of trials: where a new one goes, which old ones have to, and what must stay free.

It knows names, sizes and ages; it does not know what is in a file. A trial that some process
records holds a lock; one with a file named `keep` in it is never removed.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from otter_runtime.errors import UserError

KEEP = "keep"
DAY_S = 86_400
_STAMP = "%Y%m%dT%H%M%SZ"


@dataclass(frozen=True)
class Policy:
    """Trials are kept for `keep_days` and up to `keep_gb`; `reserve_mb` of the disk stay free."""

    keep_days: float
    keep_gb: float
    reserve_mb: float


class Shelf:
    """One folder, whose subfolders named by their time are trials."""

    def __init__(self, folder: Path, policy: Policy) -> None:
        self.folder, self.policy = folder, policy
        self._locks: list[int] = []

    def begin(self) -> Path:
        """A new trial's folder, locked until `close`. Raises UserError."""
        name = f"{time.strftime(_STAMP, time.gmtime())}-{secrets.token_hex(2)}"
        path = self.folder / name
        try:
            path.mkdir(mode=0o700, parents=True)
            self._locks.append(_lock(path))
        except OSError as error:
            raise UserError(
                f"{path} cannot be made ({error.strerror}); give --record a folder to write to"
            ) from error
        return path

    def expire(self) -> list[str]:
        """Remove what the policy does not keep, oldest first; the names of what is gone."""
        gone = []
        trials = trials_in(self.folder)
        sizes = {path: _size(path) for path in trials}
        for path in trials:
            too_much = sum(sizes.values()) > self.policy.keep_gb * 1e9
            if not (too_much or self.short or self._old(path)):
                continue
            if _remove(path):
                gone.append(path.name)
                del sizes[path]
        return gone

    @property
    def short(self) -> bool:
        """Whether less than the reserve is free."""
        disk = os.statvfs(self.folder)
        return disk.f_bavail * disk.f_frsize < self.policy.reserve_mb * 1e6

    def close(self) -> None:
        """Let others expire what was begun here."""
        for lock in self._locks:
            os.close(lock)
        self._locks = []

    def _old(self, path: Path) -> bool:
        age_s = time.time() - path.stat().st_mtime
        return age_s > self.policy.keep_days * DAY_S


def trials_in(folder: Path) -> list[Path]:
    """The trials of a folder, oldest first."""
    return sorted(path for path in folder.iterdir() if path.is_dir() and _is_named(path.name))


def _is_named(name: str) -> bool:
    stamp, _, tag = name.partition("-")
    with contextlib.suppress(ValueError):
        time.strptime(stamp, _STAMP)
        return bool(tag)
    return False


def _lock(path: Path) -> int:
    """Taken for as long as the descriptor is open. Raises OSError where somebody has it."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _remove(path: Path) -> bool:
    if (path / KEEP).exists():
        return False
    try:
        lock = _lock(path)
    except OSError:
        return False
    try:
        shutil.rmtree(path)
    except OSError:
        return False
    finally:
        os.close(lock)
    return True


def _size(path: Path) -> int:
    return sum(file.stat().st_size for file in path.iterdir() if file.is_file())
