"""Where a runtime keeps what outlives it, unless it is told: the XDG folders of its user."""

from __future__ import annotations

import os
from pathlib import Path


def state() -> Path:
    """Of the journal and the audit: `$XDG_STATE_HOME/otter-edge`, or under `~/.local/state`."""
    return _home("XDG_STATE_HOME", ".local/state") / "otter-edge"


def keys() -> Path:
    """Of the keys: `$XDG_CONFIG_HOME/otter-edge/keys`, or under `~/.config`."""
    return _home("XDG_CONFIG_HOME", ".config") / "otter-edge" / "keys"


def disk_free_mb(folder: Path) -> float | None:
    """What this user may still write there; None where the folder cannot be looked at."""
    try:
        room = os.statvfs(folder)
    except OSError:
        return None
    return room.f_bavail * room.f_frsize / 1e6


def _home(variable: str, otherwise: str) -> Path:
    given = os.environ.get(variable)
    return Path(given) if given else Path.home() / otherwise
