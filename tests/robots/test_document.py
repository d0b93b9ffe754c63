"""docs/bus.md and the JSON Schema say what the code does."""

from __future__ import annotations

import re
from pathlib import Path

from otter_robots import document

DOCS = Path(__file__).parents[2] / "docs"
REMEDY = "run: python -m otter_robots.document docs"


def test_the_page_is_up_to_date() -> None:
    page = (DOCS / "bus.md").read_text()
    assert document.renewed(page) == page, REMEDY


def test_the_schema_is_up_to_date() -> None:
    assert (DOCS / "bus.schema.json").read_text() == document.schema(), REMEDY


def test_the_example_is_short_and_compiles() -> None:
    code, *_ = re.findall(r"```python\n(.*?)```", (DOCS / "bus.md").read_text(), re.DOTALL)
    assert len(code.splitlines()) <= 10
    compile(code, "docs/bus.md", "exec")
