"""What a check found. It knows no checks."""

from __future__ import annotations

from typing import Literal

import msgspec

Level = Literal["ok", "warn", "fail"]


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing about the machine; where `level` is not ok, `remedy` says what to do about it."""

    check: str
    level: Level
    finding: str
    remedy: str = ""


def ok(check: str, finding: str) -> Finding:
    """As it should be."""
    return Finding(check=check, level="ok", finding=finding)


def warn(check: str, finding: str, remedy: str) -> Finding:
    """It works without, or worse."""
    return Finding(check=check, level="warn", finding=finding, remedy=remedy)


def fail(check: str, finding: str, remedy: str) -> Finding:
    """It does not work like this."""
    return Finding(check=check, level="fail", finding=finding, remedy=remedy)
