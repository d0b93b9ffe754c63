"""`otter-edge report`: one page about a recorded trial, readable offline."""

from __future__ import annotations

import argparse
import json
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add = parser.add_argument
    add("trial", type=Path, metavar="TRIAL", help="a trial's folder or file")
    add("-o", "--output", type=Path, metavar="FILE", help="the page (default: TRIAL's name.html)")
    add("--labels", type=Path, metavar="DIR", help="clips with their labels.json: what is right")
    add("--json", action="store_true", help="print its facts; without -o no page is written")
    add("--open", action="store_true", help="show it in the browser")


def run(args: argparse.Namespace) -> int:
    """Write the page; raises TrialError where there is no trial, UserError for the rest."""
    import msgspec

    from otter_runtime.progress_bar import Bar
    from otter_runtime.report.facts import gathered
    from otter_runtime.report.page import page

    output = args.output or (None if args.json else Path(f"{_name(args.trial)}.html"))
    with Bar(quiet=args.json) as progress:
        trial, reading, facts = gathered(args.trial, args.labels, progress)
        if output is not None:
            # What somebody else wrote may have half a character.
            output.write_text(page(trial, reading, facts, progress), "utf-8", errors="replace")
    if args.json:
        print(json.dumps(msgspec.to_builtins(facts)))
    elif output is not None:
        print(f"{facts.state}: {output}")
    if args.open and output is not None:
        import webbrowser

        webbrowser.open(output.resolve().as_uri())
    return 0


def _name(trial: Path) -> str:
    """The folder's name, or the file's; what the trial calls itself is not trusted with a path."""
    return trial.resolve().name.partition(".")[0] or "trial"
