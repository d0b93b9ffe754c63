"""Tables and lists of facts as every page has them.

It knows rows and columns; it does not know what they are about.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from otter_runtime.pages.markup import Child, Html, tag


def table(
    caption: str, columns: Sequence[str], rows: Iterable[Sequence[Child]], numbers: str = ""
) -> Html:
    """A table that scrolls by itself where it is too wide.

    `numbers` has a letter for each column, `n` for figures, which are aligned to the right. The
    caption is for those who hear the page.
    """
    kinds = ["number" if kind == "n" else None for kind in numbers.ljust(len(columns))]
    head = [_cell("th", name, kind) for name, kind in zip(columns, kinds, strict=True)]
    body = [
        tag("tr", *(_cell("td", cell, kind) for cell, kind in zip(row, kinds, strict=True)))
        for row in rows
    ]
    whole = tag(
        "table",
        tag("caption", caption, class_="unseen"),
        tag("thead", tag("tr", *head)),
        tag("tbody", *body),
    )
    return tag("div", whole, class_="scroll", tabindex=0, role="region", aria_label=caption)


def _cell(name: str, child: Child, kind: str | None) -> Html:
    return tag(name, child, class_=kind, scope="col" if name == "th" else None)


def facts(rows: Iterable[tuple[str, Child]]) -> Html:
    """Names and what they are, one under the other; those that are nothing are left out."""
    kept = [(name, value) for name, value in rows if value not in (None, "")]
    return tag(
        "dl",
        *(tag("div", tag("dt", name), tag("dd", value)) for name, value in kept),
        class_="facts",
    )


def folded(summary: Child, *children: Child) -> Html:
    """What is opened by those who want it; printed open."""
    return tag("details", tag("summary", summary), *children)
