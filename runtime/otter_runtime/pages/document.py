"""The skeleton of a page: one file that needs nothing else and may load nothing else.

It knows the style that all pages share; it does not know what stands in one. A page says by its
content security policy that it loads nothing: even if something foreign became markup, no script
of it would run and nothing would leave the machine.
"""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

from otter_runtime.pages.markup import Child, Html, tag

STYLE = Path(__file__).with_name("style.css")


def document(title: str, *body: Child, script: str = "", style: str = "") -> str:
    """The text of the file; `style` is what this page needs beside what all share.

    `script` is ours, and the only one that runs; most pages have none.
    """
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    if script:
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        policy += f"; script-src 'sha256-{digest}'"
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        Html(f'<meta http-equiv="Content-Security-Policy" content="{policy}">'),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", title),
        Html(f"<style>{STYLE.read_text(encoding='utf-8')}{style}</style>"),
    )
    whole = tag("body", *body, Html(f"<script>{script}</script>") if script else None)
    return f"<!doctype html>\n{tag('html', head, whole, lang='en')}\n"


def section(name: str, title: str, *children: Child, about: Child = None) -> Html:
    """A chapter with its heading, linked to by `#name`; `about` is a sentence below it."""
    heading = tag("h2", title, id=f"{name}-title")
    told = tag("p", about, class_="about") if about else None
    return tag("section", heading, told, *children, id=name, aria_labelledby=f"{name}-title")
