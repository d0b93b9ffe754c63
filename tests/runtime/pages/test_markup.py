"""What others wrote stays text, whatever it is."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otter_runtime.pages.document import document
from otter_runtime.pages.markup import Html, join, said, tag

HOSTILE = [
    "<script>alert(1)</script>",
    "</title><script>alert(1)</script>",
    '" onerror="alert(1)',
    "<img src=x onerror=alert(1)>",
    "</style><script>alert(1)</script>",
    "&lt;script&gt;",
    "\x00\x1b[31m\ud800",
]


class Seen(HTMLParser):
    """Elements and text of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.mark.parametrize("hostile", HOSTILE)
def test_hostile_text_stays_text(hostile: str) -> None:
    page = document(hostile, tag("p", said(hostile)), tag("b", hostile, title=hostile))
    seen = Seen(page)
    assert [name for name, _ in seen.tags] == [
        *("html", "head", "meta", "meta", "meta", "meta", "title", "style"),
        *("body", "p", "bdi", "b"),
    ]
    assert page.encode()  # no lone surrogate is left
    assert set(seen.tags[-1][1]) == {"title"}


@settings(max_examples=50, deadline=None)
@given(st.text())
def test_any_text_comes_back_as_it_was(text: str) -> None:
    shown = "".join(
        "\ufffd" if (ord(c) < 32 and c not in "\t\n") or 127 <= ord(c) < 160 else c for c in text
    )
    seen = Seen(tag("p", text, title=text))
    assert seen.text == shown
    assert seen.tags == [("p", {"title": shown})]


def test_markup_of_ours_is_left_as_it_is() -> None:
    inner = tag("b", "a < b")
    assert tag("p", inner, [1, 2.5, None]) == "<p><b>a &lt; b</b>12.5</p>"
    assert tag("td", "x", class_="n", aria_label="y", hidden=True, id=None) == (
        '<td class="n" aria-label="y" hidden>x</td>'
    )
    assert tag("br") == "<br>"
    assert isinstance(join("<", Html("<br>")), Html)


def test_only_the_script_that_is_ours_may_run() -> None:
    assert "script-src" not in document("page", tag("p", "text"))
    assert "script-src 'sha256-" in document("page", script="document.title = 'x'")
    assert "default-src 'none'" in document("page")
