"""The page that says what is wrong with a set, and what its repair did: one HTML file, offline."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from jinja2 import Environment, PackageLoader, select_autoescape

from otter_tuning.mimicit.check import KINDS, Checked, Fault
from otter_tuning.mimicit.json_file import replace_text

SHOWN = 50  # faults of one kind on the page; all of them are in the JSON


def write_check_report(path: Path, name: str, checked: Checked) -> None:
    """Write the page to `path`."""
    faults: dict[str, list[Fault]] = defaultdict(list)
    for fault in checked.faults:
        faults[fault.kind].append(fault)
    page = Environment(
        loader=PackageLoader("otter_tuning.mimicit", "."), autoescape=select_autoescape()
    ).get_template("check_report.html")
    text = page.render(name=name, checked=checked, faults=faults, kinds=KINDS, shown=SHOWN)
    replace_text(path, text)
