"""`otter-edge rank`: which of several builds people like best, by the votes of `compare`."""

from __future__ import annotations

import argparse
import json
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add = parser.add_argument
    add("votes", nargs="+", type=Path, metavar="VOTES", help="files that compare --rate wrote")
    add("--json", action="store_true", help="print one JSON object per build")


def run(args: argparse.Namespace) -> int:
    """Print the standings, the strongest first. Raises UserError for files without votes."""
    import msgspec

    from otter_runtime.compare.standings import standings
    from otter_runtime.compare.summary import table
    from otter_runtime.compare.votes import VoteFile, bouts
    from otter_runtime.errors import UserError

    found = standings(bouts(map(VoteFile, args.votes)))
    if not found:
        raise UserError("there are no votes yet; rate with `otter-edge compare --rate`")
    if args.json:
        for one in found:
            print(json.dumps(msgspec.to_builtins(one)))
    else:
        print("\n".join(table(found)))
    return 0
