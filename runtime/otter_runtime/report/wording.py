"""Figures and counts as a report writes them.

It knows units; it does not know trials.
"""

from __future__ import annotations

from otter_runtime.pages.markup import Child, Html, tag
from otter_runtime.pages.scale import clock

NONE = "\u2013"


def milliseconds(value: float | None) -> str:
    """With three digits that mean something; a dash where it is not known."""
    if value is None:
        return NONE
    digits = 2 if value < 1 else 1 if value < 100 else 0
    return f"{value:,.{digits}f}".replace(",", "\u202f")


def count(value: int | None) -> str:
    """A dash where it is not known."""
    return NONE if value is None else f"{value:,}".replace(",", "\u202f")


def lasting(seconds: float) -> str:
    """`0.4 s`, `12 s`, `3 min 20 s`, `2 h 5 min`."""
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 9.95 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min"


def many(number: int, what: str, plural: str = "") -> str:
    """`1 fault`, `3 faults`."""
    return f"{count(number)} {what if number == 1 else plural or what + 's'}"


def size(number: int) -> str:
    """Bytes as kB or MB."""
    return f"{number / 1e6:,.1f} MB" if number >= 1e5 else f"{number / 1e3:,.1f} kB"


def at(seconds: float) -> str:
    """A moment of the trial."""
    return clock(seconds, tenths=True)


def digest(text: str) -> Child:
    """A hash, which may be broken anywhere."""
    return tag("code", text, class_="hash") if text else None


def badge(text: str, colour: str) -> Html:
    """A word that stands out."""
    return tag("span", text, class_=f"badge {colour}")
