"""HTML built from text, so that nothing a model, a robot or a file says can become markup.

Every `str` is escaped; only what `tag` made is not. It knows HTML's syntax and no page.
"""

from __future__ import annotations

import html
from collections.abc import Iterable

VOID = frozenset({"br", "col", "hr", "img", "link", "meta"})


class Html(str):
    """Markup of ours; every other text is escaped before it stands in a page."""

    __slots__ = ()


Child = str | int | float | None | Iterable["Child"]
Value = str | int | float | bool | None


def tag(name: str, /, *children: Child, **attributes: Value) -> Html:
    """An element. `class_` is `class`, an underscore a hyphen; None and False are left out."""
    opened = f"<{name}{''.join(_attribute(key, value) for key, value in attributes.items())}>"
    return Html(opened if name in VOID else f"{opened}{join(*children)}</{name}>")


def join(*children: Child) -> Html:
    """Children one after the other; None is nothing."""
    return Html("".join(map(_child, children)))


def said(text: object) -> Html:
    """What somebody else wrote: its direction of writing ends with it."""
    return tag("bdi", str(text))


def _child(child: Child) -> str:
    if child is None:
        return ""
    if isinstance(child, Html):
        return child
    if isinstance(child, (str, int, float)):
        return html.escape(_visible(str(child)), quote=False)
    return join(*child)


def _attribute(name: str, value: Value) -> str:
    if value is None or value is False:
        return ""
    name = name.rstrip("_").replace("_", "-")
    return f" {name}" if value is True else f' {name}="{html.escape(_visible(str(value)))}"'


def _visible(text: str) -> str:
    """Control characters and lone surrogates, which HTML may not have, are shown as such."""
    return "".join("\ufffd" if _is_control(ord(letter)) else letter for letter in text)


def _is_control(code: int) -> bool:
    return (code < 32 and code not in (9, 10)) or 127 <= code < 160 or 0xD800 <= code < 0xE000
